"""A drawn table-top for the page without a robot."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

# Way points of the make-believe task on the 0..255 grid: home, above, grasp, lift, place.
_WAY = np.array([[128, 70], [92, 120], [88, 158], [120, 100], [176, 150]], dtype=np.float64)
LENGTH = 120  # ticks of the whole way


@dataclass(frozen=True)
class Views:
    """One tick's pictures. external, wrist: RGB [H, W, 3]; depth: relative [H, W], 1 = near."""

    external: Bytes
    wrist: Bytes
    depth: NDArray[np.floating]


def tip(tick: int) -> Floats:
    """Where the make-believe tool is at ``tick``, on the 0..255 grid."""
    part = np.clip(tick / LENGTH, 0.0, 1.0) * (len(_WAY) - 1)
    return np.array([np.interp(part, np.arange(len(_WAY)), _WAY[:, axis]) for axis in (0, 1)])


def remaining(tick: int, points: int = 5) -> Floats:
    """The way that is left, [points, 2] on the 0..255 grid."""
    return np.stack([tip(int(t)) for t in np.linspace(tick, LENGTH, points)])


def drawn_views(tick: int) -> Views:
    """A drawn table with cubes, plate and tool; 640 x 480 and 320 x 240."""
    picture = np.empty((480, 640, 3), np.uint8)
    picture[:170] = (205, 211, 218)
    picture[170:] = (188, 172, 150)
    x, y = (tip(tick) / 255 * (640, 480)).round().astype(int).tolist()
    carried = 60 <= tick < LENGTH
    cubes = {(196, 58, 52): (220, 297), (62, 104, 190): (330, 250), (80, 150, 84): (150, 240)}
    cv2.ellipse(picture, (442, 292), (70, 34), 0, 0, 360, (236, 236, 232), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (442, 290), (52, 24), 0, 0, 360, (222, 222, 218), -1, cv2.LINE_AA)
    for index, (colour, (u, v)) in enumerate(cubes.items()):
        if index == 0 and (carried or tick >= LENGTH):
            u, v = (x, y) if carried else (442, 284)
        cv2.rectangle(picture, (u - 17, v - 17), (u + 17, v + 17), colour, -1, cv2.LINE_AA)
        cv2.rectangle(picture, (u - 17, v - 17), (u + 17, v - 9), (255, 255, 255), 1)
    cv2.line(picture, (x, y - 30), (330, -40), (236, 238, 240), 46, cv2.LINE_AA)
    for side in (-14, 14):
        cv2.line(picture, (x + side, y - 34), (x + side, y - 2), (60, 64, 70), 8, cv2.LINE_AA)
    depth = np.tile(np.linspace(0.05, 0.85, 320)[:, None], (1, 320)) ** 1.4
    cv2.line(depth, (x // 2, y * 2 // 3), (165, -30), 0.95, 26)
    wrist = picture[max(y - 90, 0) : max(y - 90, 0) + 180, max(x - 120, 0) : max(x - 120, 0) + 240]
    return Views(picture, cv2.resize(wrist, (320, 240)).astype(np.uint8), depth)
