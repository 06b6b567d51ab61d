"""The trace of every tick: where the tool is now, and at most four more points until the end.

The first point is always the present one; points outside the picture are missing, not moved to
its edge; short gaps are bridged. Source of the tool's pixels: calibration and measured poses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Floats
from molmoact_ros.reasoning.trace_text import GRID, subsample_trace

LONGEST_BRIDGE = 5
"""Ticks between two seen points over which a missing one is interpolated."""


def bridged(points: Floats) -> Floats:
    """Points [T, 2] with gaps (NaN) interpolated where both neighbours are near enough."""
    out = points.copy()
    seen = np.flatnonzero(np.isfinite(points).all(axis=1))
    for left, right in zip(seen[:-1], seen[1:], strict=True):
        if 1 < right - left <= LONGEST_BRIDGE:
            for i in range(left + 1, right):
                share = (i - left) / (right - left)
                out[i] = (1.0 - share) * points[left] + share * points[right]
    return out


def traces(relative: Floats) -> list[NDArray[np.uint8] | None]:
    """For every tick points uint8 [1..5, 2] on the 0..255 grid, or None: no reasoning sample.

    relative [T, 2]: the tool in the first picture as shares of its width and height, NaN where
    it is not seen.
    """
    points = bridged(np.asarray(relative, dtype=np.float64))
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1))
    grid = np.clip(np.rint(np.nan_to_num(points) * GRID), 0, GRID).astype(np.uint8)
    found: list[NDArray[np.uint8] | None] = []
    for i in range(len(points)):
        if not seen[i]:
            found.append(None)
            continue
        ahead = [tuple(map(float, grid[j])) for j in range(i, len(points)) if seen[j]]
        found.append(np.array(subsample_trace(ahead), dtype=np.uint8))
    return found
