"""What perception hands on: one detection an object, all in the base frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera

Floats = NDArray[np.float64]

COLOURS = ("red", "green", "blue", "yellow")
CUBES = tuple(f"{colour}_cube" for colour in COLOURS)
PLATE = "plate"
BOWL = "bowl"

CUBE_M = 0.04
PLATE_RADIUS_M = 0.08
BOWL_RADIUS_M = 0.065
BOWL_HEIGHT_M = 0.048
PLATE_FLOOR_M = 0.005
BOWL_FLOOR_M = 0.006

WORKSPACE_X_M = (0.25, 0.78)
WORKSPACE_Y_M = (-0.45, 0.45)


@dataclass(frozen=True)
class Detection:
    """One object seen in one image.

    position: [3] metres, base frame; a cube's centre, a dish's centre on the table.
    yaw: radians of one cube side about base z, in [-pi/4, pi/4); 0 for round things.
    whole: the visible outline has the size of the object, so nothing hides a part of it.
    """

    name: str
    position: Floats
    yaw: float
    whole: bool


@dataclass(frozen=True)
class Percept:
    """Everything found in one image. ``table`` is the height of the table top, metres."""

    table: float
    detections: dict[str, Detection]


class Cloud(NamedTuple):
    """An image with geometry: each pixel's colour and its point in the base frame.

    rgb uint8 [h, w, 3]; points float32 [h, w, 3] metres; inside bool [h, w]: a valid depth
    and a point within the workspace's floor plan.
    """

    rgb: NDArray[np.uint8]
    points: NDArray[np.float32]
    inside: NDArray[np.bool_]


def make_cloud(
    rgb: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera, max_width: int = 320
) -> Cloud:
    """Back-project an RGB-D image, thinned to at most ``max_width`` columns.

    rgb uint8 [H, W, 3]; depth metres [H, W], 0 or NaN where unknown; ``camera`` describes
    the same H x W. Raises ValueError when the three sizes disagree.
    """
    size = (camera.height, camera.width)
    if rgb.shape[:2] != size or depth.shape != size:
        raise ValueError(
            f"The colour image is {rgb.shape[:2]}, the depth {depth.shape}, the camera info "
            f"{size}; publish depth aligned to colour with the camera_info of the colour image."
        )
    step = -(-camera.width // max_width)
    rgb, z = rgb[::step, ::step], depth[::step, ::step].astype(np.float32)
    valid = np.isfinite(z) & (z > 0.05) & (z < 4.0)
    z = np.where(valid, z, 0.0).astype(np.float32)
    rows, columns = z.shape
    u = (np.arange(columns, dtype=np.float32) * step - camera.cx) / camera.fx
    v = (np.arange(rows, dtype=np.float32) * step - camera.cy) / camera.fy
    local = np.stack([u[None, :] * z, v[:, None] * z, z], axis=2)
    pose = camera.base_from_optical.astype(np.float32)
    points = local @ pose[:3, :3].T + pose[:3, 3]
    x, y = points[..., 0], points[..., 1]
    inside = (
        valid
        & (x > WORKSPACE_X_M[0])
        & (x < WORKSPACE_X_M[1])
        & (y > WORKSPACE_Y_M[0])
        & (y < WORKSPACE_Y_M[1])
    )
    return Cloud(rgb, points, inside)


def table_height(cloud: Cloud) -> float:
    """The height most workspace points share, metres in the base frame.

    The table is level in the base frame (the robot stands on it). Raises ValueError when too
    few points look like a table top.
    """
    z = cloud.points[..., 2][cloud.inside]
    z = z[(z > -0.3) & (z < 0.3)]
    if z.size < 500:
        raise ValueError(
            "The external camera sees almost no table inside the workspace; check its pose in "
            "the base frame and that aligned depth is published."
        )
    counts, edges = np.histogram(z, bins=150, range=(-0.3, 0.3))
    peak = edges[int(np.argmax(counts))] + 0.002
    return float(np.median(z[np.abs(z - peak) < 0.006]))


def square_angle(angle: float) -> float:
    """An angle of a square's side reduced to [-pi/4, pi/4)."""
    return float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def nearest_square_angle(angle: float, reference: float) -> float:
    """The angle equal to ``angle`` modulo a quarter turn that is nearest to ``reference``."""
    return reference + square_angle(angle - reference)
