"""How a picture is cut: number of tiles, pooled patch numbers, and the layout of image tokens.

Pure integer work in numpy; ``image_processor`` adds the pixels. Patch numbers are flat,
crop * patches_per_crop + patch, with the low-resolution crop of a picture before its tiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]

EMPTY = -1
"""A pooling slot without a patch."""

START, PATCH, COLUMN, END = range(4)
"""Kinds of image token: <im_start>, <im_patch>, <im_col>, <im_end>."""


def choose_tiling(height: int, width: int, window: int, margin: int, limit: int) -> tuple[int, int]:
    """Rows and columns of tiles for a picture, at most ``limit`` tiles in all.

    window = pixels one tile adds, margin = pixels of overlap, both in the resized picture.
    The smallest enlargement wins; a picture too large for every tiling is shrunk the least.
    """
    candidates = [
        (rows, columns) for rows in range(1, limit + 1) for columns in range(1, limit // rows + 1)
    ]
    candidates.sort(key=lambda tiles: (tiles[0] * tiles[1], tiles[0]))
    sizes = np.array(candidates, dtype=np.float32) * np.float32(window)
    inner = np.array([height - margin, width - margin], dtype=np.float32)
    # A side equal to the margin divides by zero: infinity is the value the choice needs.
    with np.errstate(divide="ignore"):
        scale = (sizes / inner).min(axis=1)
    if (scale < 1).all():
        return candidates[int(scale.argmax())]
    return candidates[int(np.where(scale < 1, np.float32(np.inf), scale).argmin())]


def tile_patches(rows: int, columns: int, grid: int, margins: tuple[int, int]) -> Ints:
    """Patch numbers [h, w] of the large picture: every patch comes from exactly one tile.

    From each tile the overlap is dropped on sides that touch another tile. ``margins`` are
    (left/top, right/bottom) in patches; ``grid`` patches a side of a tile.
    """
    before, after = margins
    bands = []
    for row in range(rows):
        top, bottom = before * (row > 0), grid - after * (row < rows - 1)
        band = []
        for column in range(columns):
            left, right = before * (column > 0), grid - after * (column < columns - 1)
            tile = np.arange(grid * grid, dtype=np.int32).reshape(grid, grid)
            tile += (row * columns + column) * grid * grid
            band.append(tile[top:bottom, left:right])
        bands.append(np.concatenate(band, axis=1))
    return np.concatenate(bands, axis=0)


def pool_windows(patches: Ints, pooling: tuple[int, int] = (2, 2)) -> Ints:
    """Patch numbers [h, w] to windows [rows, columns, pooling area], EMPTY beyond the edge."""
    down, across = pooling
    height, width = patches.shape
    padded = np.pad(patches, ((0, -height % down), (0, -width % across)), constant_values=EMPTY)
    rows, columns = padded.shape[0] // down, padded.shape[1] // across
    cut = padded.reshape(rows, down, columns, across).transpose(0, 2, 1, 3)
    return cut.reshape(rows, columns, down * across)


def token_kinds(grids: NDArray[np.int64]) -> NDArray[np.int8]:
    """The image tokens of one picture; ``grids`` [2, 2]: pooled rows and columns, low-res first."""
    kinds: list[int] = []
    for rows, columns in grids.tolist():
        kinds += [START, *([PATCH] * columns + [COLUMN]) * rows, END]
    return np.array(kinds, dtype=np.int8)
