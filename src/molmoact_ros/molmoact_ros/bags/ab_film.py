"""Both policies' thoughts side by side, over the picture they thought about."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molmoact_ros.bags.ab import Comparison, Opinion
from molmoact_ros.geometry import Floats
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.viz import text
from molmoact_ros.viz.action_bars import draw_bars
from molmoact_ros.viz.colours import BACKGROUND, MUTED, TEXT
from molmoact_ros.viz.depth_view import colour_depth
from molmoact_ros.viz.trace_view import draw_overlay

HALF = 640
PICTURE = (HALF, 480)
HEIGHT = 720
DEPTH = 200


def side_by_side(
    comparison: Comparison, names: tuple[str, str], codec: DepthCodec
) -> NDArray[np.uint8]:
    """RGB uint8 [720, 1280, 3]: trace over picture, depth, actions and errors of both."""
    canvas = Image.new("RGB", (2 * HALF, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for column, (name, opinion) in enumerate(zip(names, comparison.opinions, strict=True)):
        _half(canvas, draw, column * HALF, comparison, name, opinion, codec)
    return np.asarray(canvas, dtype=np.uint8).copy()


def _half(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    left: int,
    comparison: Comparison,
    name: str,
    opinion: Opinion,
    codec: DepthCodec,
) -> None:
    thought = opinion.thought
    picture = cv2.resize(comparison.observation.images[0], PICTURE).astype(np.uint8)
    path: Floats | None = comparison.path
    trace = thought.trace if thought is not None and len(thought.trace) else None
    drawn = draw_overlay(picture, model=trace, executed=path if path is not None and len(path) else
                         None)  # fmt: skip
    canvas.paste(Image.fromarray(drawn), (left, 0))
    text.write(draw, (left + 16, 494), name, 20, TEXT, limit=HALF - 32, bold=True)
    if thought is None:
        text.write(draw, (left + 16, 524), f"refused: {opinion.refusal}", 15, MUTED, limit=600)
        return
    text.write(draw, (left + 16, 522), _numbers(opinion), 14, MUTED, limit=HALF - 32)
    depth = codec.picture(thought.depth, opinion.codebook)
    if depth is not None:
        small = cv2.resize(colour_depth(depth), (DEPTH - 32, DEPTH - 32)).astype(np.uint8)
        canvas.paste(Image.fromarray(small), (left + 16, 546))
    draw_bars(draw, (left + DEPTH, 546), HALF - DEPTH - 16, thought.actions, 0, pitch=23)


def _numbers(opinion: Opinion) -> str:
    parts = []
    if np.isfinite(opinion.trace):
        parts.append(f"trace {opinion.trace:.1f} of 255 off")
    if np.isfinite(opinion.position):
        parts.append(f"{opinion.position * 1e3:.1f} mm and")
        parts.append(f"{np.degrees(opinion.rotation):.1f} degrees a row off")
    return " · ".join(parts[:1] + [" ".join(parts[1:])]) if parts else "nothing to compare with"
