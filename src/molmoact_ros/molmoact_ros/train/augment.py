"""Pictures are varied on each visit: a random crop of the same aspect, brightness, contrast,
saturation and hue. Order: the trace is drawn, then the crop, then the colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.reasoning.trace_text import GRID


@dataclass(frozen=True)
class Crop:
    """Shares of the picture: left, top, and the length of a side (the same across and down)."""

    left: float
    top: float
    side: float


def random_crop(rng: np.random.Generator, area: float) -> Crop:
    """A window of ``area`` (0..1] anywhere in the picture, in the picture's own aspect."""
    side = math.sqrt(area)
    return Crop(rng.uniform(0.0, 1.0 - side), rng.uniform(0.0, 1.0 - side), side)


def centre_crop(area: float) -> Crop:
    """What a robot looks at when training cropped at random."""
    side = math.sqrt(area)
    return Crop((1.0 - side) / 2.0, (1.0 - side) / 2.0, side)


def cropped(rgb: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """The window, back at the picture's size (bilinear)."""
    height, width = rgb.shape[:2]
    left, top = round(crop.left * width), round(crop.top * height)
    wide, high = max(1, round(crop.side * width)), max(1, round(crop.side * height))
    window = np.ascontiguousarray(rgb[top : top + high, left : left + wide])
    return np.asarray(cv2.resize(window, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def moved_trace(trace: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8] | None:
    """Trace points [L, 2] as seen after the crop; None when the first one is cut off.

    Later points that are cut off are left out.
    """
    origin = np.array([crop.left, crop.top])
    points = (trace.astype(np.float64) / GRID - origin) / crop.side
    inside = ((points >= 0.0) & (points <= 1.0)).all(axis=1)
    if not inside[0]:
        return None
    return np.rint(points[inside] * GRID).astype(np.uint8)


def jittered(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast and saturation 0.8..1.2, hue +-0.05 of a turn."""
    brightness, contrast, saturation = rng.uniform(0.8, 1.2, 3).astype(np.float32)
    picture = rgb.astype(np.float32) * brightness
    grey = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    picture = (picture - grey.mean()) * contrast + grey.mean()
    grey = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    picture = grey[..., None] + (picture - grey[..., None]) * saturation
    out = np.clip(picture, 0.0, 255.0).astype(np.uint8)
    hsv = cv2.cvtColor(out, cv2.COLOR_RGB2HSV)
    turn = int(round(rng.uniform(-0.05, 0.05) * 180.0))
    hsv[..., 0] = ((hsv[..., 0].astype(np.int16) + turn) % 180).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
