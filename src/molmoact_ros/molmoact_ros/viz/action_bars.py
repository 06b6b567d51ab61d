"""An action chunk as small bars in words and units that a person reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from molmoact_ros.viz import text
from molmoact_ros.viz.colours import (
    EXECUTED,
    GRIPPER_CLOSED,
    GRIPPER_OPEN,
    LINE,
    MODEL,
    MUTED,
    SURFACE,
    TEXT,
    Colour,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One action dimension: its name, its unit on screen and the factor to that unit."""

    name: str
    unit: str
    factor: float


_DEGREES = float(180.0 / np.pi)
COLUMNS = (
    Column("dx", "mm", 1000.0),
    Column("dy", "mm", 1000.0),
    Column("dz", "mm", 1000.0),
    Column("roll", "deg", _DEGREES),
    Column("pitch", "deg", _DEGREES),
    Column("yaw", "deg", _DEGREES),
)


def row_in_words(row: NDArray[np.floating]) -> tuple[str, ...]:
    """One row [7] as seven short texts with units; the last one says open or closed."""
    values = [f"{row[i] * c.factor:+.1f} {c.unit}" for i, c in enumerate(COLUMNS)]
    return (*values, "open" if row[6] >= 0.5 else "closed")


# Below these a chunk is at rest, and bars scaled to it would show noise as motion.
_LEAST_FULL = (0.002, 0.02)  # metres, radians a row


def full_scales(actions: NDArray[np.floating]) -> tuple[float, float]:
    """The largest step of a chunk [N, 7]: metres of dx dy dz, radians of roll pitch yaw."""
    if len(actions) == 0:
        return _LEAST_FULL
    return (
        max(_LEAST_FULL[0], float(np.abs(actions[:, :3]).max())),
        max(_LEAST_FULL[1], float(np.abs(actions[:, 3:6]).max())),
    )


def draw_bars(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    width: int,
    actions: NDArray[np.floating] | None,
    row: int,
    *,
    pitch: int = 24,
) -> None:
    """Seven lines at ``corner``: name, one bar a row of the chunk [N, 7], number of ``row``.

    Bars left and right of ``row`` are what was done and what comes. None: empty lines.
    """
    left, top = corner
    count = 8 if actions is None else len(actions)
    bars_left, bars_right = left + 48, left + width - 78
    step = (bars_right - bars_left) / max(count, 1)
    words = row_in_words(actions[row]) if actions is not None and 0 <= row < count else ("-",) * 7
    scales = None if actions is None else full_scales(actions)
    for line in range(7):
        middle = top + line * pitch + pitch // 2
        name = "gripper" if line == 6 else COLUMNS[line].name
        text.write(draw, (left, middle), name, 13, MUTED, anchor="lm")
        text.write(draw, (left + width, middle), words[line], 13, TEXT, anchor="rm")
        draw.line((bars_left, middle, bars_right, middle), fill=LINE)
        if actions is None or scales is None:
            continue
        for index in range(count):
            box_left = bars_left + index * step + 1
            box = (box_left, box_left + max(step - 3, 1.0))
            value = float(actions[index, line])
            if line < 6:
                value /= scales[line // 3]
            _bar(draw, box, middle, pitch * 0.42, line, value, _tone(index, row))


def _tone(index: int, row: int) -> Colour | None:
    """White now, dim before, None (the column's own colour) later."""
    if index == row:
        return EXECUTED
    return SURFACE.mixed(MUTED, 0.55) if index < row else None


def _bar(
    draw: ImageDraw.ImageDraw,
    sides: tuple[float, float],
    middle: float,
    half: float,
    line: int,
    value: float,
    tone: Colour | None,
) -> None:
    if line == 6:
        # Open is two lines apart, closed one thick line: shape says it, not only colour.
        colour = tone or (GRIPPER_OPEN if value >= 0.5 else GRIPPER_CLOSED)
        offsets = (-4.0, 4.0) if value >= 0.5 else (0.0,)
        for offset in offsets:
            y = middle + offset
            draw.rectangle((sides[0], y - 1.2, sides[1], y + 1.2), fill=colour)
        return
    length = value * half
    if abs(length) < 0.75:
        length = 0.75
    top, bottom = sorted((middle, middle - length))
    draw.rectangle((sides[0], top, sides[1], bottom), fill=tone or MODEL)
