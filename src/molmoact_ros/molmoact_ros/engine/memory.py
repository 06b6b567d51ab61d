"""What one robot's last answer suggests for its next one.

It is used for guesses only, and every guess is verified: forgetting it never changes a token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.engine.automaton import Label
from molmoact_ros.engine.reader import AnswerReader

Weights = NDArray[np.float64]

_SLOW = 0.6
"""How much of an old rate is kept when a new answer arrives."""

_MIDDLE = 127
"""The bin of no motion."""


@dataclass
class Rates:
    """How good guesses of one kind were: share of exact hits, and mean distance of the others."""

    hits: float
    distance: float
    coarse: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        # Coarse steps, so that weights (and all that is ranked by them) are met again.
        self.coarse = round(self.hits * 20), round(2 * float(np.log2(max(self.distance, 0.5))))

    def learn(self, expected: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        """Compare two equally long runs of values."""
        if not len(found):
            return
        away = np.abs(expected - found)
        self.hits = _SLOW * self.hits + (1 - _SLOW) * float((away == 0).mean())
        if (away > 0).any():
            self.distance = _SLOW * self.distance + (1 - _SLOW) * float(away[away > 0].mean())
        self.__post_init__()


@dataclass
class DraftMemory:
    """One robot's memory between thoughts. Call ``executed`` when rows of the last chunk were
    driven, and ``forget`` when the scene was changed; both are optional.
    """

    depth: tuple[int, ...] = ()
    trace: tuple[int, ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()
    shift: int = 0
    depth_rates: Rates = field(default_factory=lambda: Rates(0.9, 1.0))
    trace_rates: Rates = field(default_factory=lambda: Rates(0.6, 4.0))
    row_rates: Rates = field(default_factory=lambda: Rates(0.5, 8.0))
    first_rates: Rates = field(default_factory=lambda: Rates(0.1, 24.0))
    _weights: dict[tuple[int, int, int], Weights] = field(default_factory=dict)

    def executed(self, rows: int) -> None:
        """So many rows of the last chunk were driven before the next picture was taken."""
        self.shift = max(0, rows)

    def forget(self) -> None:
        """Guess as in the first thought."""
        self.__init__()  # type: ignore[misc]

    def next_depth(self, index: int) -> tuple[int | None, float]:
        """The likely code at ``index`` (None: the end) and its probability; 0 = no idea."""
        if not self.depth or index > len(self.depth):
            return None, 0.0
        code = self.depth[index] if index < len(self.depth) else None
        return code, min(0.995, max(0.3, self.depth_rates.hits))

    def value(self, label: Label, so_far: AnswerReader) -> tuple[object, Weights]:
        """Weights [256] of the value at ``label`` and a short key that stands for them."""
        kind, index, column = label
        if kind == "trace":
            place = 2 * index + column
            if place < len(self.trace):
                return self._around(self.trace[place], self.trace_rates)
            return self._around(_MIDDLE, Rates(0.0, 256.0))
        if self.rows:
            row = self.rows[min(index + self.shift, len(self.rows) - 1)]
            if column < len(row):
                return self._around(row[column], self.row_rates)
        row = so_far.rows[-1] if so_far.rows else ()
        return self._around(row[column] if column < len(row) else _MIDDLE, self.first_rates)

    def ends(self, label: Label, choices: int) -> tuple[float, ...]:
        """How likely each of the followers is; only a trace has two: another point, or its end."""
        if choices == 1:
            return (1.0,)
        known = len(self.trace) // 2
        last = 0.2 if not known else 0.97 if label[1] == known - 1 else 0.03
        return (1.0 - last, last)

    def learn(self, answer: AnswerReader) -> None:
        """Remember a finished answer and how well it was foreseen."""
        depth = np.array(answer.depth, dtype=np.int64)
        trace = answer.traces[-1] if answer.traces else ()
        if self.depth and len(depth):
            both = min(len(depth), len(self.depth))
            self.depth_rates.learn(np.array(self.depth[:both]), depth[:both])
        if self.trace and trace:
            both = min(len(trace), len(self.trace))
            self.trace_rates.learn(np.array(self.trace[:both]), np.array(trace[:both]))
        self._learn_rows(answer.rows)
        self.depth = tuple(answer.depth) or self.depth
        self.trace = trace or self.trace
        self.rows = tuple(answer.rows) or self.rows
        self.shift = 0

    def _learn_rows(self, rows: list[tuple[int, ...]]) -> None:
        width = len(rows[0]) if rows else 0
        if any(len(row) != width for row in rows):
            return
        found = np.array(rows, dtype=np.int64)
        if len(rows) > 1:
            self.first_rates.learn(found[:-1].reshape(-1), found[1:].reshape(-1))
        if self.rows and rows and all(len(row) == width for row in self.rows):
            last = len(self.rows) - 1
            expected = [self.rows[min(i + self.shift, last)] for i in range(len(rows))]
            self.row_rates.learn(np.array(expected).reshape(-1), found.reshape(-1))

    def _around(self, centre: int, rates: Rates) -> tuple[object, Weights]:
        """Hits at the centre, a slope beside it, a little everywhere."""
        centre, (hits, scale) = min(255, max(0, centre)), rates.coarse
        key = (centre, hits, scale)
        if key not in self._weights:
            if len(self._weights) > 4096:
                self._weights.clear()
            away = np.abs(np.arange(256) - centre)
            slope = np.exp(-away / 2 ** (scale / 2))
            slope[centre] = 0.0
            exact = min(0.97, max(0.02, hits / 20))
            weights = 0.98 * (1 - exact) * slope / slope.sum() + 0.02 * (1 - exact) / 256
            weights[centre] += exact
            self._weights[key] = weights
        return key, self._weights[key]
