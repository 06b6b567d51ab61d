"""REFERENCE ONLY: how the official tools read an answer, leniently. Never feed an arm from here.

These functions reproduce the published parsing behaviour, defects included, so that our reading can
be compared with it: unknown symbols become full-speed values and traces appear from any pair of
numbers. What the robot uses is ``answer.parse_answer``, which refuses such answers.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.reasoning.actions import decode
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.reasoning.symbols import bin_of

_DEPTH = re.compile(r"<DEPTH_START>.*?<DEPTH_END>", re.DOTALL)
_BLOCK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])+\]")
_INNERMOST = re.compile(r"\[([^\[\]]+)\]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

Trace = list[list[float]]


def lenient_depths(text: str) -> list[str]:
    """Every shortest span from a start mark to the next end mark, marks included, unchecked."""
    return _DEPTH.findall(text)


def lenient_depth_ids(text: str) -> list[int]:
    """The numbers of a depth text, or of a plain list with blanks and commas.

    Raises ValueError for anything that is not a whole number.
    """
    if "<DEPTH_" in text:
        bare = text.replace("<DEPTH_START>", "").replace("<DEPTH_END>", "").replace("<DEPTH_", "")
        parts = [part.strip() for part in bare.split(">")]
    else:
        parts = text.replace(",", " ").split()
    return [int(part) for part in parts if part]


def lenient_traces(text: str) -> list[Trace]:
    """Every bracket block that holds nothing but pairs of numbers; range and length unchecked."""
    traces = []
    for block in _BLOCK.findall(text):
        rows = [_entries(inner) for inner in _INNERMOST.findall(block)]
        if rows and all(len(row) == 2 and all(map(_is_number, row)) for row in rows):
            traces.append([[_number(entry) for entry in row] for row in rows])
    return traces


def lenient_actions(
    text: str,
    norm_stats: Mapping[str, Any] | Path | str,
    key: str | None = None,
    vocabulary: Container[str] = frozenset(),
) -> list[NDArray[np.float64]]:
    """Every innermost list of D entries that looks like symbols, in physical units, rows [D].

    ``vocabulary``: the base vocabulary's spellings. A word in it that is no action symbol reads as
    bin 254, any other as bin 0. Raises ValueError when the statistics key cannot be resolved.
    """
    statistics = read_statistics(norm_stats, key)
    rows = []
    for inner in _INNERMOST.findall(text):
        entries = _entries(inner)
        symbolic = any(not entry.isascii() for entry in entries)
        if len(entries) == statistics.dims and symbolic:
            bins = [_lenient_bin(entry, vocabulary) for entry in entries]
            rows.append(statistics.unnormalise(decode(bins)))
    return rows


def _lenient_bin(entry: str, vocabulary: Container[str]) -> int:
    index = bin_of(entry)
    if index is not None:
        return index
    return 254 if entry in vocabulary else 0


def _entries(inner: str) -> list[str]:
    return [entry.strip().strip('"').strip("'") for entry in inner.split(",")]


def _is_number(entry: str) -> bool:
    return _NUMBER.fullmatch(entry) is not None


def _number(entry: str) -> float:
    value = float(entry)
    return int(value) if value.is_integer() else value
