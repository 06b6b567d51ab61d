"""The trace drawn on a picture exactly as the model saw it in training. Uses OpenCV only.

The line is RGB (0, 255, 255), 2 pixels thick and anti-aliased, drawn on the whole original picture
before any crop or resize. The model reads these pixels, so colour and rounding are a contract; for
prettier drawings for people see viz/.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

COLOUR: Final = (0, 255, 255)
TRAINING_THICKNESS: Final = 2
STEERING_SIZE: Final = 256
STEERING_THICKNESS: Final = 3


def draw_trace(
    rgb: NDArray[np.uint8], *traces: ArrayLike, thickness: int = TRAINING_THICKNESS
) -> NDArray[np.uint8]:
    """A copy of ``rgb`` [H, W, 3] with each trace [L, 2] (0..255 grid, fractions allowed) drawn.

    Points beyond the picture are moved to its border. A trace of fewer than two points draws
    nothing. Raises ValueError for a picture or trace of another shape or non-finite points.
    """
    picture = _checked_picture(rgb).copy()
    height, width = picture.shape[:2]
    scale = np.array([(width - 1) / 255.0, (height - 1) / 255.0], dtype=np.float32)
    for trace in traces:
        points = _checked_points(trace, np.dtype(np.float32))
        pixels = np.rint(points * scale)
        pixels = np.clip(pixels, 0, (width - 1, height - 1)).astype(np.int32)
        _draw(picture, pixels, thickness)
    return picture


def steering_view(
    rgb: NDArray[np.uint8], path: ArrayLike, thickness: int = STEERING_THICKNESS
) -> NDArray[np.uint8]:
    """The published steering demo's picture [256, 256, 3]: shrunk by area, user path drawn on it.

    ``path`` [L, 2] is in pixels of ``rgb``. The demo draws 3 pixels where training drew 2; on a
    robot prefer ``draw_trace``. Raises ValueError as ``draw_trace`` does.
    """
    picture = _checked_picture(rgb)
    height, width = picture.shape[:2]
    side = STEERING_SIZE
    small = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    points = _checked_points(path, np.dtype(np.float64))
    pixels = np.rint(points / (width, height) * (side - 1)).astype(np.int32)
    _draw(small, pixels, thickness)
    return small


def _draw(picture: NDArray[np.uint8], pixels: NDArray[np.int32], thickness: int) -> None:
    corners = [(int(x), int(y)) for x, y in pixels]
    for start, end in pairwise(corners):
        cv2.line(picture, start, end, COLOUR, thickness, cv2.LINE_AA)


def _checked_picture(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ValueError(
            f"A picture must be uint8 [H, W, 3] in RGB, got {rgb.dtype} {rgb.shape}; convert the"
            " camera image first."
        )
    return np.ascontiguousarray(rgb)


def _checked_points(trace: ArrayLike, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    points = np.asarray(trace, dtype=dtype)
    if points.size == 0:
        return points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(
            f"A trace must be finite points of shape [L, 2], got shape {points.shape}; drop points"
            " that were not found."
        )
    return points
