"""Pixels to colour names, tolerant of shade and warm or cold light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Hues in degrees of the colours an object on the table may have. The other names exist so
# that a distractor wins its own pixels instead of being the nearest cube colour.
HUES_DEG = {
    "red": 0.0,
    "orange": 26.0,
    "yellow": 50.0,
    "green": 125.0,
    "cyan": 182.0,
    "blue": 218.0,
    "purple": 280.0,
    "pink": 328.0,
}
NAMES = tuple(HUES_DEG)
MIN_SATURATION = 0.40
MIN_VALUE = 0.16
MAX_HUE_ERROR_DEG = 30.0


def hue_labels(rgb: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Index into NAMES for each pixel of [H, W, 3], -1 where the pixel has no clear hue."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV_FULL)
    hue = hsv[..., 0].astype(np.float32) * (360.0 / 256.0)
    table = _hue_table()
    labels = table[np.minimum(hue.astype(np.int32), 359)]
    clear = (hsv[..., 1] > 255 * MIN_SATURATION) & (hsv[..., 2] > 255 * MIN_VALUE)
    return np.where(clear, labels, -1).astype(np.int8)


def greyness(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(saturation, value) in 0..1 of each pixel of [H, W, 3]."""
    high = rgb.max(axis=2).astype(np.float32)
    low = rgb.min(axis=2).astype(np.float32)
    saturation = (high - low) / np.maximum(high, 1.0)
    return saturation, high / np.float32(255.0)


def _hue_table() -> NDArray[np.int8]:
    centres = np.array([HUES_DEG[name] for name in NAMES])
    degrees = np.arange(360) + 0.5
    distance = np.abs((degrees[:, None] - centres[None, :] + 180.0) % 360.0 - 180.0)
    nearest = distance.argmin(axis=1)
    nearest[distance.min(axis=1) > MAX_HUE_ERROR_DEG] = -1
    return nearest.astype(np.int8)
