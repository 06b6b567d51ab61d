"""Find cubes, plate and bowl in one RGB-D image of the external camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera
from molmoact_ros.policy.scripted import dishes
from molmoact_ros.policy.scripted.colours import NAMES, hue_labels
from molmoact_ros.policy.scripted.percept import (
    COLOURS,
    CUBE_M,
    Cloud,
    Detection,
    Percept,
    make_cloud,
    square_angle,
    table_height,
)

# Points this far below a cube's highest ones still belong to its top face (depth noise).
TOP_BAND_M = 0.006
# A visible top face inside these side lengths is taken for a whole one; pixel centres make
# it up to a pixel (3 mm) too small, noise and edge pixels up to 8 mm too large.
WHOLE_SIDE_M = (0.031, 0.049)
MAX_SIDE_M = 0.075
MIN_TOP_POINTS = 8
MIN_HEIGHT_M = 0.012
MAX_HEIGHT_M = 0.45


def perceive(
    rgb: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera, max_width: int = 320
) -> Percept:
    """All known objects in one image.

    rgb uint8 [H, W, 3]; depth metres [H, W] registered to it, 0 where unknown; ``camera``
    with its pose in the base frame. Raises ValueError when sizes disagree or no table is seen.
    """
    cloud = make_cloud(rgb, depth, camera, max_width)
    table = table_height(cloud)
    found = find_cubes(cloud, table)
    found += dishes.find_plate(cloud, table) + dishes.find_bowl(cloud, table)
    return Percept(table, {detection.name: detection for detection in found})


def find_cubes(cloud: Cloud, table: float) -> list[Detection]:
    """The best candidate of each cube colour, if any."""
    labels = hue_labels(cloud.rgb)
    height = cloud.points[..., 2] - table
    solid = cloud.inside & (height > MIN_HEIGHT_M) & (height < MAX_HEIGHT_M)
    found = []
    for colour in COLOURS:
        mask = (solid & (labels == NAMES.index(colour))).astype(np.uint8)
        count, blobs, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        candidates = []
        for blob in range(1, count):
            if stats[blob, cv2.CC_STAT_AREA] < MIN_TOP_POINTS:
                continue
            x, y, w, h = stats[blob, :4]
            box = np.s_[y : y + h, x : x + w]
            points = cloud.points[box][blobs[box] == blob]
            candidate = _cube_from_points(f"{colour}_cube", points)
            if candidate is not None:
                candidates.append(candidate)
        if candidates:
            found.append(max(candidates, key=lambda pair: pair[0])[1])
    return found


def _cube_from_points(name: str, points: NDArray[np.float32]) -> tuple[float, Detection] | None:
    """(score, detection) of one blob's points [N, 3]; None when it cannot be a cube."""
    # The highest few points may be stray edge pixels: the top is where a tenth lies above.
    top = float(np.quantile(points[:, 2], 0.9))
    face = points[np.abs(points[:, 2] - top) < TOP_BAND_M]
    if len(face) < MIN_TOP_POINTS:
        return None
    # OpenCV measures in whole units of its own tolerance: millimetres, not metres.
    (x_mm, y_mm), sides_mm, degrees = cv2.minAreaRect((face[:, :2] * 1e3).astype(np.float32))
    short, long = sorted(side / 1e3 for side in sides_mm)
    if long > MAX_SIDE_M:
        return None
    whole = short > WHOLE_SIDE_M[0] and long < WHOLE_SIDE_M[1]
    centre = np.array([x_mm / 1e3, y_mm / 1e3, float(np.median(face[:, 2])) - CUBE_M / 2])
    score = len(face) * (2.0 if whole else 1.0)
    return score, Detection(name, centre, square_angle(np.radians(degrees)), whole)
