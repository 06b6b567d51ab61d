"""A run at one glance: its key moments in a grid, each with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molmoact_ros.viz import text
from molmoact_ros.viz.colours import BACKGROUND, MUTED, TEXT
from molmoact_ros.viz.panel import cover

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class KeyMoment:
    """rgb: uint8 [H, W, 3]; caption: one short line; note: a second, quieter one."""

    rgb: Bytes
    caption: str
    note: str = ""


def evenly(count: int, wanted: int) -> tuple[int, ...]:
    """At most ``wanted`` indices of 0..count-1, evenly spread, first and last included."""
    if count <= 0 or wanted <= 0:
        return ()
    spread = np.linspace(0, count - 1, min(count, wanted))
    return tuple(int(index) for index in np.unique(np.rint(spread)))


def contact_sheet(
    moments: Sequence[KeyMoment],
    *,
    title: str,
    subtitle: str = "",
    columns: int = 3,
    tile: tuple[int, int] = (480, 360),
) -> Bytes:
    """RGB picture of all ``moments`` in reading order; ``tile`` is (width, height) of one.

    subtitle: may have several lines; one too long for the sheet is cut.

    Raises ValueError without moments or columns.
    """
    if not moments or columns < 1:
        raise ValueError(f"{len(moments)} moments in {columns} columns; give at least one of each")
    columns = min(columns, len(moments))
    lines = subtitle.split("\n")
    pad, head, foot = 24, 72 + 24 * len(lines), 58
    rows = -(-len(moments) // columns)
    width = pad + columns * (tile[0] + pad)
    height = head + rows * (tile[1] + foot + 8) + pad // 2
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    text.write(draw, (pad, 22), title, 30, TEXT, limit=width - 2 * pad, bold=True)
    for number, line in enumerate(lines):
        text.write(draw, (pad, 62 + 24 * number), line, 16, MUTED, limit=width - 2 * pad)
    mask = Image.new("L", tile, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, tile[0] - 1, tile[1] - 1), 8, fill=255)
    for index, moment in enumerate(moments):
        left = pad + (index % columns) * (tile[0] + pad)
        top = head + (index // columns) * (tile[1] + foot + 8)
        sheet.paste(Image.fromarray(cover(moment.rgb, *tile)), (left, top), mask)
        under = top + tile[1] + 8
        text.write(draw, (left + 2, under), moment.caption, 17, TEXT, limit=tile[0])
        text.write(draw, (left + 2, under + 24), moment.note, 14, MUTED, limit=tile[0])
    return np.asarray(sheet, dtype=np.uint8).copy()
