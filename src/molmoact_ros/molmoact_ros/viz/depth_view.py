"""The decoded depth as a picture. It is RELATIVE: an order of near and far, no metres."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molmoact_ros.viz import text
from molmoact_ros.viz.colours import BACKGROUND, TEXT

LABEL = "RELATIVE depth · bright = near"

Bytes = NDArray[np.uint8]


def depth_mono8(relative: NDArray[np.floating]) -> Bytes:
    """Relative depth [H, W] in 0..1 (1 = near) to mono8 [H, W], near = 255.

    Values a decoder overshoots with are clipped, not rescaled: rescaling would hide
    that the codes changed. Raises ValueError on a wrong shape or a NaN.
    """
    values = np.asarray(relative)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"depth has shape {values.shape}, expected [H, W]; pass one decoded map at a time"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "depth holds NaN or infinity, expected finite values in 0..1; "
            "check the decoder's weights"
        )
    scaled: Bytes = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return scaled


def colour_mono8(mono: Bytes) -> Bytes:
    """mono8 [H, W] to RGB [H, W, 3] with magma.

    Magma is perceptually uniform and grows in lightness, so "near = bright" also holds
    in print and for colour-blind eyes (Smith and van der Walt, SciPy 2015).
    """
    rgb: Bytes = _magma()[mono]
    return rgb


@lru_cache(maxsize=1)
def _magma() -> Bytes:
    """RGB [256, 3]. A table of our own: applyColorMap starts threads for each small picture."""
    bgr = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_MAGMA)
    return np.ascontiguousarray(bgr[:, 0, ::-1], dtype=np.uint8)


def colour_depth(
    relative: NDArray[np.floating], size: tuple[int, int] | None = None, *, label: bool = True
) -> Bytes:
    """Relative depth [H, W] in 0..1 to RGB [height, width, 3], with a label and a colour bar.

    ``size`` is (width, height) in pixels; default: that of the map. Raises ValueError as
    ``depth_mono8`` does.
    """
    mono = depth_mono8(relative)
    if size is not None and size != (mono.shape[1], mono.shape[0]):
        mono = cv2.resize(mono, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    rgb = colour_mono8(mono)
    return labelled(rgb) if label else rgb


def labelled(rgb: Bytes) -> Bytes:
    """A copy of a coloured depth picture [H, W, 3] with the word RELATIVE and a far-near bar."""
    height, wide = rgb.shape[:2]
    size = int(np.clip(wide / 26, 10, 22))
    band = round(size * 1.9)
    if height < 3 * band or wide < 120:
        return rgb.copy()
    picture = Image.fromarray(rgb)
    shade = Image.new("L", (wide, band), 165)
    picture.paste(Image.new("RGB", (wide, band), BACKGROUND), (0, height - band), shade)
    draw = ImageDraw.Draw(picture)
    middle = height - band / 2
    text.write(draw, (size * 0.7, middle), LABEL, size, TEXT, anchor="lm", limit=wide * 0.62)
    bar_width, bar_height = round(wide * 0.24), max(4, size // 2)
    ramp = colour_mono8(np.tile(np.linspace(0, 255, bar_width).astype(np.uint8), (bar_height, 1)))
    left = wide - bar_width - round(size * 0.7)
    picture.paste(Image.fromarray(ramp), (left, round(middle - bar_height / 2)))
    return np.asarray(picture, dtype=np.uint8).copy()
