"""Streams of any rate onto one clock: discrete values are held, continuous ones interpolated.

Recording, conversion and inference must treat time alike, so nothing here looks ahead except
between two samples that enclose the instant asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Floats, Pose, interpolate

T = TypeVar("T")
Stamps = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stream(Generic[T]):
    """Samples of one topic: stamps int64 [N] in nanoseconds, not decreasing; values [N]."""

    stamps: Stamps
    values: Sequence[T]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def period_ns(self) -> float:
        """Median distance of samples; infinity below two."""
        return float(np.median(np.diff(self.stamps))) if len(self) > 1 else float("inf")


def clock(start_ns: int, end_ns: int, fps: float) -> Stamps:
    """Ticks start, start + 1/fps, ... that are not later than ``end_ns``; rounded to whole ns."""
    count = int((end_ns - start_ns) * fps / 1e9) + 1 if end_ns >= start_ns else 0
    return start_ns + np.rint(np.arange(count) * (1e9 / fps)).astype(np.int64)


def held(stamps: Stamps, ticks: Stamps) -> NDArray[np.int64]:
    """Index of the last sample at or before each tick; -1 where there is none yet."""
    return np.asarray(np.searchsorted(stamps, ticks, side="right") - 1, dtype=np.int64)


def pose_at(stream: Stream[Pose], instant: int) -> Pose | None:
    """Interpolated (slerp) at ``instant``; None outside the recording."""
    after = int(np.searchsorted(stream.stamps, instant, side="left"))
    if after == len(stream):
        return None
    if stream.stamps[after] == instant:
        return stream.values[after]
    if after == 0:
        return None
    before = after - 1
    span = int(stream.stamps[after] - stream.stamps[before])
    fraction = (instant - int(stream.stamps[before])) / span
    return interpolate(stream.values[before], stream.values[after], fraction)


def numbers_at(stream: Stream[Floats], ticks: Stamps) -> Floats:
    """Vectors [T, K] interpolated linearly at every tick; the ends are held."""
    table = np.asarray(stream.values, dtype=np.float64)
    at, seconds = ticks.astype(np.float64), stream.stamps.astype(np.float64)
    return np.stack([np.interp(at, seconds, column) for column in table.T], axis=1)
