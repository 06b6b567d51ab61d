"""Which rows of the last chunk the arm drives while the next thought is made."""

from __future__ import annotations

import math

import numpy as np

from molmoact_ros.geometry import Floats
from molmoact_ros.policy.base import Driving

_NO_ROWS: Floats = np.zeros((0, 0))


class DrivenRows:
    """Follows one goal's chunks by the clock of the images. ``period``: seconds a row."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._rows = _NO_ROWS
        self._begin, self._end, self._seen = 0.0, 0.0, 0.0

    def accepted(self, rows: Floats, begin: float, stamp: float) -> None:
        """A chunk [N, D] about the image of ``stamp`` was handed on; its row 0 starts at
        ``begin`` (seconds).
        """
        self._rows, self._begin, self._seen = rows, begin, stamp
        self._end = begin + len(rows) * self._period

    def stopped(self, when: float) -> None:
        """The arm was told to hold at ``when``: nothing behind that is driven."""
        self._end = min(self._end, when)

    def at(self, stamp: float, thinking: float) -> Driving:
        """For an image of ``stamp`` and a thought that will take ``thinking`` seconds."""
        from_image = max(self._begin, self._seen)
        executed = max(0.0, min(stamp, self._end) - from_image) / self._period
        if stamp >= self._end:
            return Driving(round(executed), _NO_ROWS)
        first = max(0, round((stamp - self._begin) / self._period))
        last = (min(stamp + thinking, self._end) - self._begin) / self._period
        # A row that has begun is driven to its end, except where the arm was stopped.
        ahead = self._rows[first : math.ceil(last - 1e-6)]
        return Driving(round(executed), ahead)
