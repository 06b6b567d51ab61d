"""The plate and the bowl: round, grey things found on a top-down map of the table."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.policy.scripted.colours import greyness
from molmoact_ros.policy.scripted.percept import (
    BOWL,
    BOWL_RADIUS_M,
    PLATE,
    PLATE_RADIUS_M,
    WORKSPACE_X_M,
    WORKSPACE_Y_M,
    Cloud,
    Detection,
)

CELL_M = 0.004
PLATE_HEIGHT_M = (0.0025, 0.018)
PLATE_MIN_VALUE = 0.50
PLATE_MAX_SATURATION = 0.25
BOWL_RIM_M = (0.030, 0.058)
BOWL_MAX_VALUE = 0.50
BOWL_MAX_SATURATION = 0.35
RIM_WIDTH_M = 0.010
# The share of a template's area that must be seen: half a plate may lie under cubes or hand.
MIN_SHARE = 0.35
WHOLE_SHARE = 0.70


def find_plate(cloud: Cloud, table: float) -> list[Detection]:
    """The white disc, if seen: at most one detection, its centre at table height."""
    saturation, value = greyness(cloud.rgb)
    height = cloud.points[..., 2] - table
    mask = (
        cloud.inside
        & (height > PLATE_HEIGHT_M[0])
        & (height < PLATE_HEIGHT_M[1])
        & (saturation < PLATE_MAX_SATURATION)
        & (value > PLATE_MIN_VALUE)
    )
    disc = _disc(PLATE_RADIUS_M)
    surround = _disc(PLATE_RADIUS_M + 0.016, inner=PLATE_RADIUS_M + 0.002)
    return _best_match(PLATE, cloud, mask, disc, surround, table)


def find_bowl(cloud: Cloud, table: float) -> list[Detection]:
    """The dark ring, if seen: at most one detection, its centre at table height."""
    saturation, value = greyness(cloud.rgb)
    height = cloud.points[..., 2] - table
    mask = (
        cloud.inside
        & (height > BOWL_RIM_M[0])
        & (height < BOWL_RIM_M[1])
        & (saturation < BOWL_MAX_SATURATION)
        & (value < BOWL_MAX_VALUE)
    )
    ring = _disc(BOWL_RADIUS_M, inner=BOWL_RADIUS_M - RIM_WIDTH_M)
    surround = _disc(BOWL_RADIUS_M + 0.016, inner=BOWL_RADIUS_M + 0.004)
    return _best_match(BOWL, cloud, mask, ring, surround, table)


def _disc(radius: float, inner: float = 0.0) -> NDArray[np.float32]:
    """A filled disc (or ring) on the map's grid, summing to 1."""
    reach = int(np.ceil(radius / CELL_M)) + 1
    axis = np.arange(-reach, reach + 1) * CELL_M
    distance = np.hypot(axis[:, None], axis[None, :])
    shape = ((distance <= radius) & (distance >= inner)).astype(np.float32)
    return shape / shape.sum()


def _best_match(
    name: str,
    cloud: Cloud,
    mask: NDArray[np.bool_],
    shape: NDArray[np.float32],
    surround: NDArray[np.float32],
    table: float,
) -> list[Detection]:
    top_down = _top_down(cloud.points[mask][:, :2])
    # One pass: how much of the shape is seen, less how much stands where nothing should.
    kernel = -surround
    edge = (len(surround) - len(shape)) // 2
    inner = kernel[edge : edge + len(shape), edge : edge + len(shape)]
    inner += shape
    score = cv2.filter2D(top_down, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
    row, column = (int(i) for i in np.unravel_index(int(score.argmax()), score.shape))
    if float(score[row, column]) < MIN_SHARE:
        return []
    x, y = _peak(score, row, column)
    position = np.array(
        [WORKSPACE_X_M[0] + (x + 0.5) * CELL_M, WORKSPACE_Y_M[0] + (y + 0.5) * CELL_M, table]
    )
    return [Detection(name, position, 0.0, whole=float(score[row, column]) > WHOLE_SHARE)]


def _top_down(xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Occupied cells (0 or 1) of the workspace's floor plan, rows along x, columns along y."""
    rows = int((WORKSPACE_X_M[1] - WORKSPACE_X_M[0]) / CELL_M) + 1
    columns = int((WORKSPACE_Y_M[1] - WORKSPACE_Y_M[0]) / CELL_M) + 1
    grid = np.zeros((rows, columns), np.float32)
    i = ((xy[:, 0] - WORKSPACE_X_M[0]) / CELL_M).astype(np.int64)
    j = ((xy[:, 1] - WORKSPACE_Y_M[0]) / CELL_M).astype(np.int64)
    grid[i, j] = 1.0
    # An oblique view leaves gaps of a cell or two between the rows of pixels.
    return cv2.morphologyEx(grid, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)).astype(np.float32)


def _peak(score: NDArray[np.float32], row: int, column: int) -> tuple[float, float]:
    """The centroid of the cells nearly as good as the best one: better than a cell's size."""
    reach = 4
    r0, c0 = max(row - reach, 0), max(column - reach, 0)
    patch = score[r0 : row + reach + 1, c0 : column + reach + 1]
    weight = np.clip(patch - 0.93 * score[row, column], 0.0, None).astype(np.float64)
    total = weight.sum()
    rows, columns = np.mgrid[r0 : r0 + patch.shape[0], c0 : c0 + patch.shape[1]]
    return float((weight * rows).sum() / total), float((weight * columns).sum() / total)
