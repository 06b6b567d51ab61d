"""The language of complete answers, as an automaton over bytes and depth tokens.

The sentences are data of ``reasoning.prompts``; the parts between them are depth codes, one to
five trace points and the action symbols of a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from molmoact_ros.engine.automaton import TOKEN, Automaton, Builder
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.depth_text import CODES
from molmoact_ros.reasoning.prompts import Wording, answer_template
from molmoact_ros.reasoning.symbols import SYMBOLS

_COORDINATES = tuple(str(value) for value in range(256))
_NEXT, _CLOSE = "], [", "]]"


@dataclass(frozen=True)
class AnswerShape:
    """What answers look like.

    wordings: which sentences (``reasoning.prompts``). rows x dims action symbols; a
    single row is one flat list. depth: whether there is a depth sentence. depth_codes: exactly so
    many, or None for 1..max_depth_codes as the model likes. max_points: trace points, at least one.
    """

    wordings: tuple[Wording, ...]
    rows: int = 8
    dims: int = 7
    depth_codes: int | None = None
    max_points: int = 5
    max_depth_codes: int = 256
    depth: bool = True

    def __post_init__(self) -> None:
        numbers = (self.rows, self.dims, self.max_points, self.depth_codes or 1)
        if not self.wordings or min(numbers) < 1:
            raise ValueError(f"{self} allows no answer; every number must be at least 1")


def wordings_for(images: int, steered: bool) -> tuple[Wording, ...]:
    """The sentences a model uses for so many pictures."""
    if steered:
        return ("steering",)
    return ("single",) if images == 1 else ("multi",)


def answer_automaton(shape: AnswerShape, tokenizer: MolmoActTokenizer) -> Automaton:
    """All answers of this shape, each with its leading blank and the end-of-text token."""
    builder, parts = Builder(), _Parts(shape, tokenizer)
    start, end = builder.position(), builder.position()
    for wording in shape.wordings:
        place = builder.position()
        builder.join(start, place)
        for piece in re.split("({[a-z]+})", f" {answer_template(wording, shape.depth)}"):
            if piece == "{depth}":
                place = parts.depth(builder, place)
            elif piece == "{trace}":
                place = parts.trace(builder, place)
            elif piece == "{action}":
                place = parts.actions(builder, place)
            else:
                place = builder.word(place, piece.encode())
        builder.join(builder.word(place, [TOKEN + tokenizer.ids.eos]), end)
    return builder.finish(start, end)


class _Parts:
    """The three kinds of content; each method goes on from ``place`` and returns where it ends."""

    def __init__(self, shape: AnswerShape, tokenizer: MolmoActTokenizer) -> None:
        self._shape = shape
        self._ids = tokenizer.ids
        self._coordinates = _letters(tokenizer, _COORDINATES, ", ", ", ")
        self._symbols = _letters(tokenizer, SYMBOLS, ", ", ", ")
        self._next, self._close = _letters(tokenizer, (_NEXT, _CLOSE), "1", "1")
        if _letters(tokenizer, (_CLOSE,), "1", ".")[0] != self._close:
            self._next, self._close = _NEXT.encode(), _CLOSE.encode()

    def depth(self, builder: Builder, place: int) -> int:
        place = builder.word(place, [TOKEN + self._ids.depth_start])
        codes = [[TOKEN + self._ids.depth_code + code] for code in range(CODES)]
        wanted, end = self._shape.depth_codes, builder.position()
        for count in range(1, (wanted or self._shape.max_depth_codes) + 1):
            builder.mark(place, ("depth", count - 1, 0))
            place = builder.one_of(place, codes)
            if wanted is None or count == wanted:
                builder.join(place, end)
        return builder.word(end, [TOKEN + self._ids.depth_end])

    def trace(self, builder: Builder, place: int) -> int:
        place = builder.word(place, b"[[")
        end = builder.position()
        for point in range(self._shape.max_points):
            if point:
                place = builder.word(place, self._next)
            for axis in range(2):
                place = builder.word(place, b", ") if axis else place
                builder.mark(place, ("trace", point, axis))
                place = builder.one_of(place, self._coordinates)
            builder.join(builder.word(place, self._close), end)
        return end

    def actions(self, builder: Builder, place: int) -> int:
        shape = self._shape
        opening, closing = (b"[[", b"]]") if shape.rows > 1 else (b"[", b"]")
        place = builder.word(place, opening)
        for row in range(shape.rows):
            if row:
                place = builder.word(place, _NEXT.encode())
            for dim in range(shape.dims):
                if dim:
                    place = builder.word(place, b", ")
                builder.mark(place, ("action", row, dim))
                place = builder.one_of(place, self._symbols)
        return builder.word(place, closing)


def _letters(
    tokenizer: MolmoActTokenizer, words: Sequence[str], before: str, after: str
) -> list[Sequence[int]]:
    """Words as letters: one token each where ALL are one token between such neighbours, so that
    a vocabulary made for them is not offered to spell them byte by byte; else their bytes.
    """
    first, last = tokenizer.encode(before), tokenizer.encode(after)
    letters: list[Sequence[int]] = []
    for word in words:
        ids = tokenizer.encode(before + word + after)
        if len(ids) != len(first) + 1 + len(last) or ids[: len(first)] != first:
            return [other.encode() for other in words]
        letters.append([TOKEN + ids[len(first)]])
    return letters
