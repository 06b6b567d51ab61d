"""Places along a line of points, by the length from its beginning, in the units of the points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def lengths(line: NDArray[Any]) -> NDArray[np.float64]:
    """Length along ``line`` [N, D] up to each of its points, [N]; the first is 0."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])


def places(
    line: NDArray[Any], starts: NDArray[np.float64], along: NDArray[Any] | float
) -> NDArray[np.float64]:
    """Points [..., D] at lengths ``along`` [...] of ``lengths(line)``; the ends are not passed."""
    return np.stack([np.interp(along, starts, axis) for axis in line.T], axis=-1)
