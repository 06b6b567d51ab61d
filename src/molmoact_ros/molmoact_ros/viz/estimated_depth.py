"""A trace lifted without a depth camera: the model's own relative depth, scaled to known places.

The model's depth is inverse depth under an unknown affine map (reasoning/depth_image.py). Two
numbers fix it: the table's plane under the workspace, and the tool where it was measured. What
comes out is an ESTIMATE for the eye and is marked as one; nothing drives by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera
from molmoact_ros.viz.lift3d import DEPTH_MAX_M, DEPTH_MIN_M, LiftedTrace, lift_trace

Floats = NDArray[np.float64]

PLANE_SAMPLES = 9
"""Places a side at which the table is looked at."""
LEAST_PLACES = 12
"""Fewer known places in view say too little about two numbers."""
TRIMS = 5
WORST_RESIDUAL = 0.15
"""Median error of the fit, as a share of the inverse depth, above which nothing is said."""
TOOL_WEIGHT = 5
"""The tool is one point but a sure one: the table is partly hidden by what lies on it."""


@dataclass(frozen=True)
class DepthScale:
    """1 / metres = offset + gain * relative; gain > 0, because near is bright."""

    offset: float
    gain: float

    def metres(self, relative: NDArray[np.floating]) -> NDArray[np.float32]:
        """Estimated metres float32 of relative depth, 0 where they would be out of range."""
        inverse = self.offset + self.gain * np.asarray(relative, dtype=np.float64)
        metres = 1.0 / np.maximum(inverse, 1e-6)
        known = (metres >= DEPTH_MIN_M) & (metres <= DEPTH_MAX_M)
        return np.where(known, metres, 0.0).astype(np.float32)


def workspace_plane(low: Floats, high: Floats, plane_z: float) -> Floats:
    """Points [N, 3] of the table below the box from ``low`` to ``high`` (base frame, metres)."""
    x, y = (np.linspace(low[axis], high[axis], PLANE_SAMPLES) for axis in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return np.concatenate([grid, np.full((len(grid), 1), plane_z)], axis=1)


def fit_scale(
    relative: NDArray[np.floating], camera: Camera, known: Floats, weights: NDArray[np.integer]
) -> DepthScale | None:
    """The scale that puts ``known`` points [N, 3] (base frame) at their depths.

    relative [h, w]: decoded depth of the whole picture, 1 = near. weights [N]: how often a point
    counts. A median of slopes (Theil-Sen), then trimmed: a third of the table may be covered. None
    when too few points are in view, or when the picture does not fit them.
    """
    pixels, depth = camera.project(known)
    size = np.array([camera.width, camera.height])
    seen = (depth > DEPTH_MIN_M) & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1)
    count = np.where(seen, weights, 0)
    if int(count.sum()) < LEAST_PLACES:
        return None
    shape = np.array([relative.shape[1], relative.shape[0]])
    column, row = np.minimum(pixels[seen] / size * shape, shape - 1).astype(int).T
    value = np.repeat(np.asarray(relative, np.float64)[row, column], count[seen])
    inverse = np.repeat(1.0 / depth[seen], count[seen])
    first, second = np.triu_indices(len(value), k=1)
    run = value[second] - value[first]
    apart = np.abs(run) > 0.02
    if apart.sum() < LEAST_PLACES:
        return None
    gain = float(np.median((inverse[second] - inverse[first])[apart] / run[apart]))
    offset = float(np.median(inverse - gain * value))
    # What lies on the table is nearer than the table, never farther: such errors have one sign and
    # pull the medians too. Those that fit well decide.
    for _ in range(TRIMS):
        miss = np.abs(offset + gain * value - inverse)
        good = miss <= 2.0 * np.median(miss) + 1e-9
        if np.ptp(value[good]) < 0.02:
            break
        gain, offset = np.polyfit(value[good], inverse[good], 1).tolist()
    residual = float(np.median(np.abs(offset + gain * value - inverse) / inverse))
    if gain <= 0.0 or not residual <= WORST_RESIDUAL:
        return None
    return DepthScale(offset, gain)


def lift_estimated(
    trace: NDArray[np.floating],
    camera: Camera,
    relative: NDArray[np.floating],
    tool: Floats,
    plane: Floats,
) -> LiftedTrace | None:
    """Trace points [L, 2] (0..255 grid) lifted with the model's depth; None when it does not fit.

    tool: the measured tool centre [3]; plane: ``workspace_plane``; both in the base frame when the
    picture was taken. No point counts as measured.
    """
    known = np.concatenate([plane, np.asarray(tool, dtype=np.float64)[None]])
    weights = np.array([*[1] * len(plane), TOOL_WEIGHT])
    scale = fit_scale(relative, camera, known, weights)
    if scale is None:
        return None
    size = (camera.width, camera.height)
    wide = cv2.resize(np.asarray(relative, np.float32), size, interpolation=cv2.INTER_LINEAR)
    lifted = lift_trace(trace, camera, scale.metres(wide))
    return LiftedTrace(lifted.points, lifted.valid, np.zeros_like(lifted.measured))
