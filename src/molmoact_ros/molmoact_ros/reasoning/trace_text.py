"""The visual trace to text and back, and how a long path becomes at most five points.

A trace is 1..5 integer points [[u, v], ...] on a 0..255 grid over the first picture, u to the
right, v down; the first point is where the gripper is now, the last where the episode ends.
Source: MolmoAct paper (arXiv 2508.07917) section 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molmoact_ros.reasoning.thought import ThoughtRefused

MAX_POINTS: Final = 5
GRID: Final = 255
Point = Sequence[float]

_NUMBER = r"(?:0|[1-9][0-9]{0,3})"
_POINT = rf"\[ ?({_NUMBER}) ?, ?({_NUMBER}) ?\]"
_TRACE = re.compile(rf"\[ ?{_POINT}(?: ?, ?{_POINT})* ?\]")


def trace_to_text(points: ArrayLike) -> str:
    """Points [L, 2], L in 1..5, whole numbers 0..255, as ``[[u, v], [u, v]]``.

    Raises ValueError for another shape, fractions (use ``to_grid``) or numbers outside the grid.
    """
    table: NDArray[Any] = np.asarray(points)
    if table.ndim != 2 or table.shape[1] != 2 or not 1 <= len(table) <= MAX_POINTS:
        raise ValueError(
            f"A trace has shape [1..{MAX_POINTS}, 2], not {table.shape}; pick points with"
            " subsample_trace."
        )
    inside = np.isfinite(table) & (table >= 0) & (table <= GRID)
    if not inside.all() or (table != np.rint(table)).any():
        raise ValueError(
            f"Trace points must be whole numbers 0..{GRID}, got {table.tolist()}; bring pixels onto"
            " the grid with to_grid."
        )
    return "[" + ", ".join(f"[{int(u)}, {int(v)}]" for u, v in table) + "]"


def trace_from_text(text: str) -> NDArray[np.float32]:
    """``[[u, v], ...]`` (blanks after commas optional) to points float32 [L, 2].

    Raises ThoughtRefused for another form, more than five points, or numbers above 255.
    """
    if not _TRACE.fullmatch(text):
        raise ThoughtRefused(
            f"The trace {text[:60]!r} is not a list of [x, y] points in whole numbers; let the"
            " model answer again with the grammar switched on."
        )
    points = np.array(re.findall(_POINT, text), dtype=np.float32)
    if len(points) > MAX_POINTS:
        raise ThoughtRefused(
            f"The trace has {len(points)} points instead of 1 to {MAX_POINTS}; let the model answer"
            " again."
        )
    if points.max() > GRID:
        raise ThoughtRefused(
            f"The trace point {_worst(points)} lies outside the 0..{GRID} picture grid; let the"
            " model answer again."
        )
    return points


def subsample_trace(
    points: Sequence[Point | None], count: int = MAX_POINTS, fallback: Point | None = None
) -> list[Point]:
    """At most ``count`` of the found points, evenly by index, first and last always among them.

    None marks a point that was not found; it is skipped. Without any point: ``[fallback]``, or
    nothing when that is None too. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"A trace needs room for at least one point, got count={count}.")
    found = [point for point in points if point is not None]
    if not found:
        return [] if fallback is None else [fallback]
    if len(found) <= count:
        return found
    # Truncation, not rounding: the released labels were made this way (6 points -> 0, 1, 2, 3, 5).
    return [found[int(index)] for index in np.linspace(0, len(found) - 1, count)]


def to_grid(pixels: ArrayLike, width: int, height: int) -> NDArray[np.int64]:
    """Pixels [L, 2] of a ``width`` x ``height`` picture to the grid: u = round(x / width * 255).

    Results are clipped to 0..255, so drop points outside the picture first: they would bend the
    trace. Raises ValueError for NaN or a shape other than [L, 2].
    """
    table = np.asarray(pixels, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 2 or not np.isfinite(table).all():
        raise ValueError(
            f"Pixels must be finite numbers of shape [L, 2], got {table.shape}; drop points"
            " that were not found."
        )
    return np.clip(np.rint(table / (width, height) * GRID), 0, GRID).astype(np.int64)


def _worst(points: NDArray[np.float32]) -> str:
    u, v = points[int(points.max(axis=1).argmax())]
    return f"[{int(u)}, {int(v)}]"
