"""Traces as foxglove_msgs/ImageAnnotations, where that package is installed.

On a robot: apt-get install ros-jazzy-foxglove-msgs. Foxglove then draws the lines itself, sharp at
every zoom, on the camera's own picture; without the package the overlay picture remains.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray

from molmoact_ros.viz.colours import Colour
from molmoact_ros.viz.trace_view import grid_to_pixels

LINE_STRIP = 3
"""PointsAnnotation.type, as foxglove_msgs numbers it."""
WIDTH_PX, DISC_PX, FONT_PX = 3.0, 17.0, 13.0
DARK = Colour(4, 8, 14)


def annotation_messages() -> ModuleType | None:
    """The foxglove_msgs.msg module, or None where it is not installed."""
    try:
        return importlib.import_module("foxglove_msgs.msg")
    except ModuleNotFoundError:
        return None


def image_annotations(
    msgs: Any,
    stamp: Time,
    size: tuple[int, int],
    *,
    trace: NDArray[np.floating],
    colour: Colour,
    executed: NDArray[np.floating] | None = None,
    executed_colour: Colour | None = None,
) -> Any:
    """ImageAnnotations with a numbered trace [L, 2] and the executed path [N, 2] (0..255 grid).

    msgs: ``annotation_messages()``; stamp: of the picture; size: its width and height in pixels.
    """
    out = msgs.ImageAnnotations()
    if executed is not None and len(executed) > 1:
        shade = executed_colour or colour
        out.points.append(_line(msgs, stamp, grid_to_pixels(executed, *size), shade))
    pixels = grid_to_pixels(trace, *size)
    if len(pixels) > 1:
        out.points.append(_line(msgs, stamp, pixels, colour))
    for number, pixel in enumerate(pixels, 1):
        place = _point(msgs, pixel)
        out.circles.append(
            msgs.CircleAnnotation(
                timestamp=stamp,
                position=place,
                diameter=DISC_PX,
                thickness=1.0,
                fill_color=_colour(msgs, colour),
                outline_color=_colour(msgs, DARK),
            )
        )
        out.texts.append(
            msgs.TextAnnotation(
                timestamp=stamp,
                position=_point(msgs, pixel + (DISC_PX / 2, -DISC_PX / 2)),
                text=str(number),
                font_size=FONT_PX,
                text_color=_colour(msgs, colour),
                background_color=_colour(msgs, DARK, 0.7),
            )
        )
    return out


def _line(msgs: Any, stamp: Time, pixels: NDArray[np.float64], colour: Colour) -> Any:
    return msgs.PointsAnnotation(
        timestamp=stamp,
        type=LINE_STRIP,
        points=[_point(msgs, pixel) for pixel in pixels],
        outline_color=_colour(msgs, colour),
        thickness=WIDTH_PX,
    )


def _point(msgs: Any, pixel: NDArray[np.float64]) -> Any:
    return msgs.Point2(x=float(pixel[0]), y=float(pixel[1]))


def _colour(msgs: Any, colour: Colour, alpha: float = 1.0) -> Any:
    r, g, b, a = map(float, colour.rgba(alpha))
    return msgs.Color(r=r, g=g, b=b, a=a)
