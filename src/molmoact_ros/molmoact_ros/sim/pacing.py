"""A steady clock for the physics loop: absolute deadlines, and a record of how steady it was."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

_WINDOW = 8192  # ticks remembered for percentiles: about eight seconds


@dataclass(frozen=True)
class TickStats:
    """ticks, late ticks and resyncs since the start; the rest over the last seconds.

    rate: ticks per wall second. interval_ms: (p50, p99, max) between tick starts.
    work_ms: (p50, p99, max) of computing a tick, without sleeping.
    """

    ticks: int
    late: int
    resyncs: int
    rate: float
    interval_ms: tuple[float, float, float]
    work_ms: tuple[float, float, float]


class Pacer:
    """Call ``begin`` and ``wait`` around each tick.

    A tick that starts late is caught up by shorter sleeps, so the mean rate is kept. After a
    pause longer than ``give_up`` seconds the lost time is written off instead: a burst of
    ticks would look to a client like a robot that jumps.
    """

    def __init__(self, period: float = 0.001, give_up: float = 0.05) -> None:
        self._period = period
        self._give_up = give_up
        self._starts = np.zeros(_WINDOW)
        self._work = np.zeros(_WINDOW)
        self._ticks = 0
        self._late = 0
        self._resyncs = 0
        self._deadline = time.perf_counter()

    def begin(self) -> None:
        self._starts[self._ticks % _WINDOW] = time.perf_counter()

    def wait(self) -> None:
        """Sleep until the next deadline; return at once when it has passed."""
        now = time.perf_counter()
        index = self._ticks % _WINDOW
        self._work[index] = now - self._starts[index]
        self._ticks += 1
        self._deadline += self._period
        ahead = self._deadline - now
        if ahead > 0:
            time.sleep(ahead)
            return
        self._late += 1
        if ahead < -self._give_up:
            self._resyncs += 1
            self._deadline = now

    def stats(self) -> TickStats:
        # One slot less: asked in the middle of a tick, the oldest one is already overwritten.
        count = min(self._ticks, _WINDOW - 1)
        if count < 2:
            return TickStats(self._ticks, self._late, self._resyncs, 0.0, (0.0,) * 3, (0.0,) * 3)
        first = self._ticks - count
        order = np.arange(first, self._ticks) % _WINDOW
        starts, work = self._starts[order], self._work[order]
        return TickStats(
            self._ticks,
            self._late,
            self._resyncs,
            float((count - 1) / (starts[-1] - starts[0])),
            _summary(np.diff(starts)),
            _summary(work),
        )


def _summary(seconds: np.ndarray) -> tuple[float, float, float]:
    p50, p99 = np.percentile(seconds, [50, 99])
    return float(p50 * 1e3), float(p99 * 1e3), float(seconds.max() * 1e3)
