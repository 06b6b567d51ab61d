"""Depth codes to text and back: one start mark, the codes row by row, one end mark, no blanks.

Codes are 0..127, entries of the depth VQ-VAE's code book; the released grid is 10 x 10.
Source: MolmoAct paper (arXiv 2508.07917) section 3.1; the paper counts from 1, the tokens from 0.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molmoact_ros.reasoning.thought import ThoughtRefused

CODES: Final = 128
DEPTH_START: Final = "<DEPTH_START>"
DEPTH_END: Final = "<DEPTH_END>"
_CODE = re.compile(r"<DEPTH_(0|[1-9][0-9]{0,2})>")


def depth_to_text(codes: ArrayLike) -> str:
    """Codes of any shape, read row by row, as depth text.

    Raises ValueError when there is no code or one is not an integer in 0..127.
    """
    table: NDArray[Any] = np.asarray(codes)
    if not table.size or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(
            f"Depth codes must be integers, at least one, not {table.dtype} of shape {table.shape};"
            " encode a depth image with the VQ-VAE."
        )
    if table.min() < 0 or table.max() >= CODES:
        raise ValueError(
            f"Depth codes lie in 0..{CODES - 1}, not {table.min()}..{table.max()}; check that the"
            " VQ-VAE belongs to this model."
        )
    return DEPTH_START + "".join(f"<DEPTH_{int(code)}>" for code in table.flat) + DEPTH_END


def depth_from_text(text: str, count: int = 100) -> NDArray[np.uint8]:
    """One depth text with both marks to codes [rows, cols] of ``grid_shape(count)``.

    Raises ThoughtRefused for anything between the marks that is not a code, a code of 128 or more,
    or another number of codes.
    """
    inner = text.removeprefix(DEPTH_START).removesuffix(DEPTH_END)
    if len(inner) != len(text) - len(DEPTH_START) - len(DEPTH_END):
        raise ThoughtRefused(
            "The depth part lacks its start or end mark; let the model answer again."
        )
    found = _CODE.findall(inner)
    if _CODE.sub("", inner):
        raise ThoughtRefused(
            f"The depth part holds {_CODE.sub('', inner)[:20]!r} besides depth codes; let the model"
            " answer again with the grammar switched on."
        )
    if len(found) != count:
        raise ThoughtRefused(
            f"The depth part has {len(found)} codes instead of {count}; let the model answer again"
            " or check which depth grid the checkpoint uses."
        )
    codes = [int(code) for code in found]
    if max(codes) >= CODES:
        raise ThoughtRefused(
            f"The depth part holds code {max(codes)}, but the code book ends at {CODES - 1}; check"
            " that tokenizer and checkpoint belong together."
        )
    return np.array(codes, dtype=np.uint8).reshape(grid_shape(count))


def grid_shape(count: int) -> tuple[int, int]:
    """Rows and columns for ``count`` codes: the factor pair closest to a square, rows <= columns.

    Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"A depth grid needs at least one code, got {count}.")
    rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
    return rows, count // rows
