"""Traces on the camera picture, for the operator's eye.

This is NOT the line that steers the model: that one is drawn pixel for pixel as in
training by reasoning/overlay.py. Here a trace may glow, fade and carry numbers.
Points are on the model's 0..255 grid of the picture (u = x / W * 255).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molmoact_ros.viz import text
from molmoact_ros.viz.colours import EXECUTED, HUMAN, MODEL, Colour

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

_SHIFT = 4  # OpenCV draws with 1/16 pixel then, so a slowly moving trace does not jitter
_DARK = Colour(4, 8, 14)


@dataclass(frozen=True)
class TraceStyle:
    """How one kind of trace looks. Widths are for a picture 640 pixels wide and scale with it."""

    colour: Colour
    width: float = 3.0
    numbered: bool = False
    fades: bool = False


MODEL_STYLE = TraceStyle(MODEL, numbered=True)
HUMAN_STYLE = TraceStyle(HUMAN, numbered=True)
EXECUTED_STYLE = TraceStyle(EXECUTED, width=2.0, fades=True)


def grid_to_pixels(points: NDArray[np.floating], width: int, height: int) -> Floats:
    """Trace points [L, 2] on the 0..255 grid to pixels [L, 2] (x right, y down).

    Raises ValueError when the shape is wrong or a point is not finite.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.size == 0:
        return np.zeros((0, 2))
    if values.ndim != 2 or values.shape[1] != 2 or not np.isfinite(values).all():
        raise ValueError(
            f"trace has shape {values.shape} or holds NaN, expected finite [L, 2] on the "
            "0..255 grid; pass Thought.trace"
        )
    return values / 255.0 * np.array([width, height], dtype=np.float64)


def draw_trace(image: Bytes, points: NDArray[np.floating], style: TraceStyle) -> Bytes:
    """A copy of RGB ``image`` [H, W, 3] with one trace [L, 2]; no points: an equal copy.

    Raises ValueError when the image is not RGB uint8 or the points are not finite.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image is {image.dtype} {image.shape}, expected uint8 [H, W, 3] RGB; convert it first"
        )
    out = np.ascontiguousarray(image).copy()
    height, wide = out.shape[:2]
    pixels = grid_to_pixels(points, wide, height)
    if len(pixels) == 0:
        return out
    scale = wide / 640.0
    if len(pixels) > 1:
        _soft_outline(out, pixels, style.width * scale)
        _line(out, pixels, style, scale)
    if style.numbered:
        # Backwards: where points meet, the one that comes first stays readable.
        for index in reversed(range(len(pixels))):
            _stamp_disc(out, pixels[index], index + 1, style.colour, scale)
    else:
        _stamp_disc(out, pixels[-1], None, style.colour, scale)
    return out


def draw_overlay(
    image: Bytes,
    *,
    model: NDArray[np.floating] | None = None,
    executed: NDArray[np.floating] | None = None,
    human: NDArray[np.floating] | None = None,
) -> Bytes:
    """A copy of RGB ``image`` [H, W, 3] with executed (white), model (cyan), human (orange).

    The human's line lies on top: it is the one that was asked for.
    """
    out = np.ascontiguousarray(image).copy()
    layers = ((executed, EXECUTED_STYLE), (model, MODEL_STYLE), (human, HUMAN_STYLE))
    for points, style in layers:
        if points is not None:
            out = draw_trace(out, points, style)
    return out


def _fixed(pixels: Floats) -> NDArray[np.int32]:
    # Far outside points would overflow OpenCV's fixed-point coordinates.
    bounded = np.clip(pixels, -4096.0, 8192.0)
    return np.rint(bounded * (1 << _SHIFT)).astype(np.int32)


def _soft_outline(out: Bytes, pixels: Floats, width: float) -> None:
    """Darken a blurred band under the line, so it reads on a white plate and a dark arm."""
    reach = width * 4.0 + 2.0
    low = np.maximum(np.floor(pixels.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(
        np.ceil(pixels.max(axis=0) + reach), np.array([out.shape[1], out.shape[0]])
    ).astype(int)
    if (high <= low).any():
        return
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.uint8)
    line = [_fixed(pixels - low)]
    cv2.polylines(mask, line, False, 255, max(1, round(width * 2.2)), cv2.LINE_AA, _SHIFT)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, width * 0.8)).astype(np.float32)
    alpha = soft[..., None] * np.float32(0.62 / 255.0)
    patch = out[low[1] : high[1], low[0] : high[0]]
    patch[:] = (patch * (1.0 - alpha) + np.array(_DARK, np.float32) * alpha).astype(np.uint8)


def _line(out: Bytes, pixels: Floats, style: TraceStyle, scale: float) -> None:
    """The line itself, deeper in colour where it begins (or fading out, for a path behind)."""
    dark = style.colour.mixed(_DARK, 0.55 if style.fades else 0.35)
    steps = _dense(pixels)
    for index in range(len(steps) - 1):
        fraction = (index + 1) / (len(steps) - 1)
        colour = dark.mixed(style.colour, fraction)
        a, b = _fixed(steps[index]), _fixed(steps[index + 1])
        thickness = max(1, round(style.width * scale))
        cv2.line(out, tuple(a), tuple(b), colour, thickness, cv2.LINE_AA, _SHIFT)


def _dense(pixels: Floats, minimum: int = 32) -> Floats:
    """The same polyline with at least ``minimum`` segments, corners kept, for a smooth gradient."""
    per_segment = max(1, -(-minimum // (len(pixels) - 1)))
    parts = [
        pixels[i] + (pixels[i + 1] - pixels[i]) * (np.arange(per_segment) / per_segment)[:, None]
        for i in range(len(pixels) - 1)
    ]
    return np.concatenate([*parts, pixels[-1:]])


@lru_cache(maxsize=64)
def _disc(number: int | None, colour: Colour, radius: float) -> NDArray[np.float32]:
    """An RGBA sprite [S, S, 4] in 0..255 of one point, drawn 4 times larger and reduced."""
    grain = 4
    side = int(np.ceil(radius * 2 + 4)) | 1
    sprite = Image.new("RGBA", (side * grain, side * grain), (*_DARK, 0))
    draw = ImageDraw.Draw(sprite)
    centre = side * grain / 2

    def circle(r: float, fill: tuple[int, int, int, int]) -> None:
        draw.ellipse((centre - r, centre - r, centre + r, centre + r), fill=fill)

    circle((radius + 1.5) * grain, (*_DARK, 190))
    circle(radius * grain, (*colour, 255))
    if number is not None:
        size = max(8, round(radius * grain * 1.35))
        label = str(number)
        draw.text(
            (centre, centre),
            label,
            fill=(*_DARK, 255),
            font=text.font(size),
            anchor="mm",
            stroke_width=0.5,
        )
    small = sprite.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.float32)


def _stamp_disc(
    out: Bytes, pixel: Floats, number: int | None, colour: Colour, scale: float
) -> None:
    """Blend one point's sprite onto the picture, cut at its border."""
    radius = max(3.0, (8.5 if number is not None else 4.5) * scale)
    sprite = _disc(number, colour, round(radius, 1))
    side = sprite.shape[0]
    x, y = (np.rint(np.clip(pixel, -4096, 8192)).astype(int) - side // 2).tolist()
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + side, out.shape[1]), min(y + side, out.shape[0])
    if right <= left or bottom <= top:
        return
    part = sprite[top - y : bottom - y, left - x : right - x]
    alpha = part[..., 3:] / 255.0
    patch = out[top:bottom, left:right]
    patch[:] = np.rint(patch * (1.0 - alpha) + part[..., :3] * alpha).astype(np.uint8)
