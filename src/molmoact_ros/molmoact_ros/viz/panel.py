"""One moment as one picture, 1280 x 720: what the robot saw, thought and does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molmoact_ros.viz import text
from molmoact_ros.viz.action_bars import draw_bars
from molmoact_ros.viz.colours import (
    BACKGROUND,
    EXECUTED,
    HUMAN,
    LINE,
    MODEL,
    MUTED,
    SURFACE,
    TEXT,
    Colour,
)
from molmoact_ros.viz.depth_view import colour_depth
from molmoact_ros.viz.trace_view import draw_overlay

Bytes = NDArray[np.uint8]

WIDTH, HEIGHT = 1280, 720
_STAGE = 960  # the external picture, 4:3, fills the height; what is left is the side column
_PAD = 16
_SIDE = WIDTH - _STAGE - 2 * _PAD
_SHADES = (MODEL, MODEL.mixed(BACKGROUND, 0.35), MODEL.mixed(BACKGROUND, 0.6), MUTED)


@dataclass(frozen=True)
class Moment:
    """Everything one film frame shows. Arrays may be None: their place then says so.

    external, wrist: RGB uint8 [H, W, 3]. depth: relative float [H, W] in 0..1, 1 = near.
    trace, executed, human: [L, 2] on the 0..255 grid of ``external``. actions: [N, 7] of the
    running chunk, ``row`` the one being executed. timings: stage -> seconds. thought 0: none yet.
    """

    external: Bytes
    wrist: Bytes | None = None
    depth: NDArray[np.floating] | None = None
    instruction: str = ""
    status: str = ""
    thinker: str = ""
    corner: str = ""
    thought: int = 0
    trace: NDArray[np.floating] | None = None
    executed: NDArray[np.floating] | None = None
    human: NDArray[np.floating] | None = None
    actions: NDArray[np.floating] | None = None
    row: int = -1
    timings: Mapping[str, float] = field(default_factory=dict)


def compose(moment: Moment) -> Bytes:
    """RGB uint8 [720, 1280, 3]. Raises ValueError for images that are not RGB uint8."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    canvas.paste(Image.fromarray(_stage(moment)), (0, 0))
    draw = ImageDraw.Draw(canvas)
    _stage_words(draw, moment)
    _side(canvas, draw, moment)
    return np.asarray(canvas, dtype=np.uint8).copy()


def cover(rgb: Bytes, width: int, height: int) -> Bytes:
    """``rgb`` scaled and cut in the middle so that it fills width x height without distortion."""
    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    size = (max(width, round(rgb.shape[1] * scale)), max(height, round(rgb.shape[0] * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    big = cv2.resize(rgb, size, interpolation=kind)
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    cut: Bytes = np.ascontiguousarray(big[y : y + height, x : x + width], dtype=np.uint8)
    return cut


def _stage(moment: Moment) -> Bytes:
    """The external picture with traces, darkened at its foot where the words go.

    It is stretched to 4:3 rather than cut, so that trace points keep their place.
    """
    # draw_overlay after scaling: lines are then as sharp as the film, not as the camera.
    big = cv2.resize(moment.external, (_STAGE, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture = draw_overlay(
        big.astype(np.uint8), model=moment.trace, executed=moment.executed, human=moment.human
    )
    foot = 150
    fade = (np.linspace(0.0, 1.0, foot, dtype=np.float32) ** 0.8 * 0.86)[:, None, None]
    lower = picture[HEIGHT - foot :]
    lower[:] = (lower * (1.0 - fade) + np.array(BACKGROUND, np.float32) * fade).astype(np.uint8)
    return picture


def _stage_words(draw: ImageDraw.ImageDraw, moment: Moment) -> None:
    shown = f"“{moment.instruction}”" if moment.instruction else "No instruction"
    text.write(draw, (24, HEIGHT - 58), shown, 30, TEXT, limit=_STAGE - 300, anchor="ls", bold=True)
    text.write(draw, (24, HEIGHT - 26), moment.status, 19, TEXT, limit=_STAGE - 300, anchor="ls")
    entries: list[tuple[str, Colour]] = []
    if moment.trace is not None and len(moment.trace):
        entries.append(("model's trace", MODEL))
    if moment.human is not None and len(moment.human):
        entries.append(("human's trace", HUMAN))
    if moment.executed is not None and len(moment.executed):
        entries.append(("executed", EXECUTED))
    y = HEIGHT - 30
    for name, colour in reversed(entries):
        length = text.width(name, 16)
        text.write(draw, (_STAGE - 24, y), name, 16, TEXT, anchor="rm")
        end = _STAGE - 24 - length - 10
        draw.line((end - 26, y, end, y), fill=colour, width=4)
        draw.ellipse((end - 5, y - 5, end + 5, y + 5), fill=colour)
        y -= 24
    if moment.corner:
        length = text.width(moment.corner, 15)
        draw.rounded_rectangle((16, 16, 16 + length + 24, 46), 15, fill=BACKGROUND)
        text.write(draw, (28, 31), moment.corner, 15, TEXT, anchor="lm")


def _side(canvas: Image.Image, draw: ImageDraw.ImageDraw, moment: Moment) -> None:
    left = _STAGE + _PAD
    title = f"Thought {moment.thought}" if moment.thought else "No thought yet"
    used = text.write(draw, (left, 20), title, 22, TEXT, bold=True)
    text.write(
        draw, (left + _SIDE, 26), moment.thinker, 13, MUTED, anchor="ra", limit=_SIDE - used - 12
    )
    _view(canvas, draw, (left, 58), (_SIDE, 162), moment.wrist, "wrist camera")
    depth = None if moment.depth is None else colour_depth(moment.depth, (_SIDE, 216))
    _view(canvas, draw, (left, 232), (_SIDE, 216), depth, "" if depth is not None else "depth")
    count = 0 if moment.actions is None else len(moment.actions)
    label = f"row {moment.row + 1} of {count}" if 0 <= moment.row < count else "waiting"
    text.write(draw, (left, 474), "Next actions", 15, TEXT, anchor="lm")
    text.write(draw, (left + _SIDE, 474), label, 13, MUTED, anchor="rm")
    draw_bars(draw, (left, 488), _SIDE, moment.actions, moment.row, pitch=23)
    _timings(draw, left, moment.timings)


def _view(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    size: tuple[int, int],
    rgb: Bytes | None,
    name: str,
) -> None:
    box = (*corner, corner[0] + size[0], corner[1] + size[1])
    if rgb is None:
        draw.rounded_rectangle(box, 8, fill=SURFACE, outline=LINE)
        centre = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
        text.write(draw, centre, f"no {name} yet", 14, MUTED, anchor="mm")
        return
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), 8, fill=255)
    canvas.paste(Image.fromarray(cover(rgb, *size)), corner, mask)
    if name:
        length = text.width(name, 13)
        left, top = corner[0] + 8, corner[1] + 8
        draw.rounded_rectangle((left, top, left + length + 16, top + 22), 11, fill=BACKGROUND)
        text.write(draw, (left + 8, top + 11), name, 13, TEXT, anchor="lm")


def _timings(draw: ImageDraw.ImageDraw, left: int, timings: Mapping[str, float]) -> None:
    """One bar, as long as the thought took, cut into its stages."""
    stages = [(name, max(float(s), 0.0)) for name, s in timings.items()]
    total = sum(s for _, s in stages)
    top = HEIGHT - 48
    if total <= 0.0:
        return
    x = float(left)
    for index, (_, seconds) in enumerate(stages):
        end = x + seconds / total * _SIDE
        if end - x >= 2.0:
            draw.rectangle((x, top, end - 2, top + 7), fill=_SHADES[min(index, 3)])
        x = end
    # Longest first: the reader wants to know where the time went.
    longest = sorted(stages, key=lambda stage: -stage[1])[:3]
    words = " · ".join(f"{name.replace('_', ' ')} {seconds:.2f} s" for name, seconds in longest)
    text.write(draw, (left, top + 24), words, 12, MUTED, anchor="lm", limit=_SIDE - 64)
    text.write(draw, (left + _SIDE, top + 24), f"{total:.2f} s", 13, TEXT, anchor="rm")
