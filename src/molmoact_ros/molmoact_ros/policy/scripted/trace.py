"""The planned path as the visual trace: at most five points on the first image's grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera
from molmoact_ros.policy.scripted.percept import Floats
from molmoact_ros.reasoning.trace_text import subsample_trace, to_grid


def trace_of_path(path: Floats, camera: Camera) -> NDArray[np.int64]:
    """Tool centres [M, 3] (base frame, metres, the current one first) to points [1..5, 2].

    The label rule of the data contract: points outside the image are invalid and skipped,
    the rest thinned to five by index. Raises ValueError when no point lies in the image.
    """
    pixels, depths = camera.project(path)
    inside = (
        (depths > 0)
        & (pixels >= 0).all(axis=1)
        & (pixels[:, 0] <= camera.width - 1)
        & (pixels[:, 1] <= camera.height - 1)
    )
    points = subsample_trace([tuple(pixel) for pixel in pixels[inside]])
    if not points:
        raise ValueError(
            "The planned path lies outside the external image; turn the camera so that it sees "
            "the gripper and the table, or correct its pose in the base frame."
        )
    return to_grid(np.array(points), camera.width, camera.height)
