"""Action values to bins and text, and back: 256 edges, 255 centres on [-1, 1].

Source: MolmoAct paper (arXiv 2508.07917) section 3 and the released tokeniser's arithmetic. The
top two bins share a centre, so the extremes decode to +-0.996078 and zero decodes to exactly 0.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molmoact_ros.reasoning.symbols import SYMBOLS

BINS: Final = 256
_EDGES: Final = np.linspace(-1.0, 1.0, BINS)
_CENTRES: Final = (_EDGES[:-1] + _EDGES[1:]) / 2.0


def encode(values: ArrayLike) -> NDArray[np.uint8]:
    """Normalised values (any shape) to bins of the same shape; values beyond +-1 are clipped.

    Raises ValueError for NaN or infinity: both would silently become a full-speed bin.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(
            "A value to be written as an action symbol is not finite; every value must be a number"
            " near -1..1. Check the recorded action and the statistics it was normalised with."
        )
    edges_below = np.digitize(np.clip(numbers, -1.0, 1.0), _EDGES)
    return np.asarray(edges_below - 1, dtype=np.uint8)


def decode(bins: ArrayLike) -> NDArray[np.float64]:
    """Bins 0..255 (any shape) to normalised values in -0.996078..0.996078, same shape.

    Raises ValueError for anything that is not an integer in 0..255.
    """
    return np.asarray(_CENTRES[np.minimum(_checked_bins(bins), BINS - 2)], dtype=np.float64)


def chunk_text(bins: ArrayLike) -> str:
    """Bins [N, D] as ``[[s, s, ...], [s, ...]]``; bins [D] as one flat list.

    Raises ValueError for bins outside 0..255 or another number of dimensions.
    """
    table = _checked_bins(bins)
    if table.ndim == 1 and table.size:
        return _row_text(table)
    if table.ndim == 2 and table.size:
        return "[" + ", ".join(_row_text(row) for row in table) + "]"
    raise ValueError(
        f"The bins have shape {table.shape}; an action has shape [D] and a chunk [N, D], neither"
        " empty. Reshape the bins."
    )


def _row_text(row: NDArray[np.int64]) -> str:
    return "[" + ", ".join(SYMBOLS[int(index)] for index in row) + "]"


def _checked_bins(bins: ArrayLike) -> NDArray[np.int64]:
    table: NDArray[Any] = np.asarray(bins)
    if not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"Bins are integers, not {table.dtype}; pass values through encode first.")
    if table.size and (table.min() < 0 or table.max() >= BINS):
        raise ValueError(
            f"Bins lie in 0..{BINS - 1}, but {table.min()}..{table.max()} was given; pass values"
            " through encode first."
        )
    return table.astype(np.int64)
