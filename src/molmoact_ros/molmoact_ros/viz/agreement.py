"""How well thoughts and the world agree, in two numbers: trace error and order of depth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.viz.lift3d import DEPTH_MAX_M, DEPTH_MIN_M
from molmoact_ros.viz.trace_view import grid_to_pixels

Points = NDArray[np.floating[Any]]

SAMPLES = 64
"""Depth maps are compared on a grid of this many places a side."""
LEAST_SHARE = 0.2
"""Share of the places with sensor depth below which nothing is said."""


def trace_error(trace: Points, executed: Points, width: int, height: int) -> float | None:
    """Mean distance, pixels, of where the tool was seen from where it was said to go.

    trace [L, 2] and executed [N, 2] are on the 0..255 grid of a ``width`` x ``height`` picture.
    None without a line or without a motion. Raises ValueError for points that are not finite.
    """
    line, seen = grid_to_pixels(trace, width, height), grid_to_pixels(executed, width, height)
    if len(line) < 2 or not len(seen):
        return None
    starts, ways = line[:-1], np.diff(line, axis=0)
    length = np.maximum((ways**2).sum(axis=1), 1e-12)
    part = ((seen[:, None] - starts) * ways).sum(axis=2) / length
    nearest = starts + np.clip(part, 0.0, 1.0)[..., None] * ways
    return float(np.linalg.norm(seen[:, None] - nearest, axis=2).min(axis=1).mean())


def depth_agreement(relative: Points, metres: Points) -> float | None:
    """Rank correlation (Spearman) of nearness in both maps: 1 same order, 0 none, -1 reversed.

    relative [h, w]: the model's depth, 1 near. metres [H, W]: the sensor's, of the same view, 0
    unknown. None when the sensor knows too little. A rank correlation, because the model's depth
    has an order but no unit.
    """
    size = (SAMPLES, SAMPLES)
    near = cv2.resize(np.asarray(relative, np.float32), size, interpolation=cv2.INTER_AREA)
    far = cv2.resize(np.asarray(metres, np.float32), size, interpolation=cv2.INTER_NEAREST)
    known = np.isfinite(far) & (far > DEPTH_MIN_M) & (far < DEPTH_MAX_M) & np.isfinite(near)
    if known.mean() < LEAST_SHARE:
        return None
    a, b = _ranks(near[known]), _ranks(-far[known])
    if a.std() < 1e-9 or b.std() < 1e-9:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Points) -> NDArray[np.float64]:
    """Ranks with ties averaged."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray(((last - count) + last - 1)[place] / 2.0, dtype=np.float64)
