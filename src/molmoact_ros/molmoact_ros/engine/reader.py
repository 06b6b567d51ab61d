"""Reads an answer while it is written: every part is handed out with the token that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from molmoact_ros.model.tokenizer import SpecialIds
from molmoact_ros.reasoning.depth_text import CODES
from molmoact_ros.reasoning.symbols import bin_of


@dataclass(frozen=True)
class Part:
    """A finished part of an answer.

    values: depth codes 0..127; trace points x, y, x, y, ... on the 0..255 grid; or the bins 0..255
    of one action row. index: number of the row, or of the trace.
    """

    kind: Literal["depth", "trace", "row"]
    index: int
    values: tuple[int, ...]


class AnswerReader:
    """Follows the brackets of an answer, whatever its sentences say. It hands out what is there
    and judges nothing: a whole answer is the parser's to accept or refuse.
    """

    def __init__(self, ids: SpecialIds, texts: Sequence[bytes | None]) -> None:
        self._ids = ids
        self._texts = texts
        self._open = 0
        self._inner: bytearray | None = None
        self._points: list[int] = []
        self.depth: list[int] = []
        self.traces: list[tuple[int, ...]] = []
        self.rows: list[tuple[int, ...]] = []
        self.tokens = 0

    def push(self, token: int) -> list[Part]:
        """Read one token; the parts that are complete now."""
        self.tokens += 1
        code = token - self._ids.depth_code
        if 0 <= code < CODES:
            self.depth.append(code)
            return []
        if token == self._ids.depth_end:
            return [Part("depth", 0, tuple(self.depth))]
        parts = []
        for byte in self._texts[token] or b"":
            part = self._byte(byte)
            if part is not None:
                parts.append(part)
        return parts

    def _byte(self, byte: int) -> Part | None:
        if byte == ord("["):
            self._open += 1
            self._inner = bytearray()
        elif byte == ord("]"):
            self._open = max(0, self._open - 1)
            inner, self._inner = self._inner, None
            if inner is not None:
                return self._list(inner.decode(errors="replace"))
            if not self._open and self._points:
                trace, self._points = tuple(self._points), []
                self.traces.append(trace)
                return Part("trace", len(self.traces) - 1, trace)
        elif self._inner is not None:
            self._inner.append(byte)
        return None

    def _list(self, text: str) -> Part | None:
        entries = [entry.strip() for entry in text.split(",")]
        if len(entries) == 2 and all(e.isascii() and e.isdigit() and len(e) < 4 for e in entries):
            self._points += [min(int(entry), 255) for entry in entries]
            return None
        bins = [bin_of(entry) for entry in entries]
        if any(number is None for number in bins):
            return None
        self.rows.append(tuple(number for number in bins if number is not None))
        return Part("row", len(self.rows) - 1, self.rows[-1])
