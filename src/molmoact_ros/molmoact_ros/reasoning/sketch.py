"""A path that a person draws on the external picture, checked before anything believes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_POINTS: Final = 2
MAX_POINTS: Final = 5
"""The model's traces have at most five points (MolmoAct paper, section 3)."""
MIN_LENGTH: Final = 4.0
"""Grid units; a shorter line is a slip of the finger, and the model would not see it."""
OLDEST_PICTURE_S: Final = 30.0
"""A person draws on a frozen picture; after this the scene may be another one."""
CLOCK_SKEW_S: Final = 1.0


class BadSketch(ValueError):
    """A drawn path that cannot be used; the message tells the operator what to change."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """points: float32 [2..5, 2] on the 0..255 grid of the first picture, x right, y down.

    stamp: seconds, of the picture it was drawn on. until_cleared: steers every thought until it is
    cleared or the goal ends; otherwise the next chunk only.
    """

    points: NDArray[np.float32]
    stamp: float
    until_cleared: bool = False


def check_points(points: ArrayLike) -> NDArray[np.float32]:
    """The points as float32 [2..5, 2]. Raises BadSketch unless they make a line in the picture."""
    try:
        with np.errstate(over="ignore"):  # becomes infinity, which is refused below
            values = np.asarray(points, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadSketch("the path is not a list of points x, y; draw it again") from error
    if values.ndim != 2 or values.shape[1] != 2:
        raise BadSketch(f"the path has shape {values.shape}, expected points x, y; draw it again")
    if not MIN_POINTS <= len(values) <= MAX_POINTS:
        raise BadSketch(
            f"the path has {len(values)} point{'' if len(values) == 1 else 's'}; draw "
            f"{MIN_POINTS} to {MAX_POINTS}"
        )
    if not np.isfinite(values).all() or values.min() < 0.0 or values.max() > 255.0:
        raise BadSketch("a point lies outside the picture; draw within its edges")
    if float(np.linalg.norm(np.diff(values, axis=0), axis=1).sum()) < MIN_LENGTH:
        raise BadSketch("the points lie on one another; draw a longer path")
    return values


def check_picture_age(stamp: float, now: float, oldest: float = OLDEST_PICTURE_S) -> None:
    """Raises BadSketch when the picture drawn on is older than ``oldest`` seconds, or no time."""
    age = now - stamp
    if not np.isfinite(age) or age < -CLOCK_SKEW_S:
        raise BadSketch("the picture drawn on is from the future; synchronise the clocks (chrony)")
    if age > oldest:
        raise BadSketch(
            f"the picture drawn on is {age:.0f} s old (limit {oldest:.0f} s); draw on a new one"
        )
