"""Gripper conventions: how a recording says open and closed, and what the model is taught.

In the model's text 1 is open and 0 is closed (the RLDS convention). A recording declares its own
convention in the data card field ``gripper_raw``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEFAULT_CONVENTION = "0open_1closed"
_METRES = "metres_max="
_KNOWN = "0open_1closed, 1open_0closed, -1open_1closed or metres_max=<width in metres>"


def gripper_to_training(
    raw: ArrayLike, convention: str = DEFAULT_CONVENTION
) -> NDArray[np.float32]:
    """Recorded gripper values (any shape) to 1 = open, 0 = closed.

    Raises ValueError for an unknown convention.
    """
    values = np.asarray(raw, dtype=np.float32)
    if convention == "0open_1closed":
        return np.asarray(1 - values, dtype=np.float32)
    if convention == "1open_0closed":
        return values.copy()
    if convention == "-1open_1closed":
        return np.asarray(np.clip(1 - values, 0, 1), dtype=np.float32)
    # Widths are binarised: half-open fingers are a grasp in progress, not a third command.
    return np.asarray(values > _max_width(convention) / 2, dtype=np.float32)


def gripper_from_training(
    values: ArrayLike, convention: str = DEFAULT_CONVENTION
) -> NDArray[np.float32]:
    """Model values (any shape; open from 0.5 up) to the recording's own command for the robot.

    Raises ValueError for an unknown convention.
    """
    is_open = np.asarray(values, dtype=np.float64) >= 0.5
    if convention == "0open_1closed":
        opened, closed = 0.0, 1.0
    elif convention == "1open_0closed":
        opened, closed = 1.0, 0.0
    elif convention == "-1open_1closed":
        opened, closed = -1.0, 1.0
    else:
        opened, closed = _max_width(convention), 0.0
    return np.where(is_open, np.float32(opened), np.float32(closed))


def _max_width(convention: str) -> float:
    try:
        width = float(convention.removeprefix(_METRES)) if convention.startswith(_METRES) else 0.0
    except ValueError:
        width = 0.0
    if not (math.isfinite(width) and width > 0):
        raise ValueError(
            f"Unknown gripper convention {convention!r}; set gripper_raw in the data card to"
            f" {_KNOWN}."
        )
    return width
