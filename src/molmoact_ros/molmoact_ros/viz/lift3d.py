"""A drawn trace lifted into the robot's base frame with the camera's aligned depth.

The depth under a trace point is that of the surface seen there, so a point drawn for a
hand in mid-air lands on the table behind it. That is what a 2-D trace can say; the
action chunk, not this, holds the height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera
from molmoact_ros.viz.trace_view import grid_to_pixels

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DEPTH_MIN_M = 0.10  # nearer than any table-top camera sees; the D435 starts at 0.105 m
DEPTH_MAX_M = 4.0


@dataclass(frozen=True)
class LiftedTrace:
    """points [L, 3] metres, base frame (NaN where not valid); valid [L]; measured [L].

    measured: the point has sensor depth in its own window. Valid but not measured: it was
    taken from the plane or the nearest valid pixel.
    """

    points: Floats
    valid: Flags
    measured: Flags


PLANE_Z_M = 0.02
"""Where a trace lies without depth: a little above the table, where it can be seen."""


def lift_trace(
    trace: NDArray[np.floating],
    camera: Camera,
    depth: NDArray[np.floating] | None,
    *,
    window: int = 5,
    plane_z: float | None = None,
    nearest_within: int = 24,
) -> LiftedTrace:
    """Trace points [L, 2] on the 0..255 grid to base-frame points.

    depth: metres [H, W] along the optical axis, aligned to ``camera``, 0 or NaN unknown; or
    None. The median of the ``window`` x ``window`` pixels around a point is used, so single
    wrong pixels do not matter. Without one: the ray's hit with the plane z = ``plane_z``
    (metres, base frame) when given, else the nearest valid pixel within ``nearest_within``
    pixels. Raises ValueError when sizes disagree or ``window`` is not odd.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}, expected an odd number of pixels such as 5")
    if depth is not None and depth.shape != (camera.height, camera.width):
        raise ValueError(
            f"depth is {depth.shape}, the camera {(camera.height, camera.width)}; use the depth "
            "aligned to this camera (align_depth.enable:=true)"
        )
    pixels = grid_to_pixels(trace, camera.width, camera.height)
    count = len(pixels)
    metres = np.full(count, np.nan)
    measured = np.zeros(count, dtype=bool)
    if depth is not None:
        for index, pixel in enumerate(pixels):
            metres[index] = _window_median(depth, pixel, window // 2)
        measured = np.isfinite(metres)
    for index in np.flatnonzero(~measured):
        if plane_z is not None:
            metres[index] = _plane_depth(camera, pixels[index], plane_z)
        elif depth is not None:
            metres[index] = _nearest(depth, pixels[index], nearest_within)
    valid = np.isfinite(metres)
    points = np.full((count, 3), np.nan)
    if valid.any():
        points[valid] = camera.lift(pixels[valid], metres[valid])
    return LiftedTrace(points, valid, measured)


def _patch(depth: NDArray[np.floating], pixel: Floats, half: int) -> tuple[Floats, int, int]:
    """The cut-out around ``pixel`` with unknown depths as NaN, and its top left corner."""
    height, width = depth.shape
    column = int(np.clip(np.floor(pixel[0]), 0, width - 1))
    row = int(np.clip(np.floor(pixel[1]), 0, height - 1))
    top, left = max(row - half, 0), max(column - half, 0)
    cut = depth[top : row + half + 1, left : column + half + 1].astype(np.float64)
    known = np.isfinite(cut) & (cut >= DEPTH_MIN_M) & (cut <= DEPTH_MAX_M)
    return np.where(known, cut, np.nan), top, left


def _window_median(depth: NDArray[np.floating], pixel: Floats, half: int) -> float:
    cut, _, _ = _patch(depth, pixel, half)
    known = cut[np.isfinite(cut)]
    # A quarter of the window: fewer is usually the fringe of a hole, whose depths are noise.
    return float(np.median(known)) if 4 * known.size >= cut.size else float("nan")


def _nearest(depth: NDArray[np.floating], pixel: Floats, reach: int) -> float:
    cut, top, left = _patch(depth, pixel, reach)
    rows, columns = np.nonzero(np.isfinite(cut))
    if rows.size == 0:
        return float("nan")
    distance = (rows + top + 0.5 - pixel[1]) ** 2 + (columns + left + 0.5 - pixel[0]) ** 2
    best = int(np.argmin(distance))
    return float(cut[rows[best], columns[best]]) if distance[best] <= reach**2 else float("nan")


def _plane_depth(camera: Camera, pixel: Floats, plane_z: float) -> float:
    """Depth along the optical axis at which the pixel's ray meets z = plane_z, else NaN."""
    origin = camera.base_from_optical[:3, 3]
    direction = camera.lift(pixel[None], np.ones(1))[0] - origin
    if abs(direction[2]) < 1e-9:
        return float("nan")
    metres = float((plane_z - origin[2]) / direction[2])
    return metres if DEPTH_MIN_M <= metres <= DEPTH_MAX_M else float("nan")
