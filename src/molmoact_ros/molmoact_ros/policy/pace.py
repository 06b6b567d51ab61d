"""When a running goal thinks again."""

from __future__ import annotations

from dataclasses import dataclass

from molmoact_ros.control.guards import Limits

SETTLE_S = 0.25
"""Seconds the arm's controller needs to come to rest after the last row."""


@dataclass(frozen=True)
class GoalSettings:
    """period: seconds a row. rethink_after_rows: think again when that row is reached.

    sensor_timeout: seconds without an observation before the goal ends.
    max_refusals: refused answers in a row before the goal ends.
    finish_after_rest: seconds of chunks without motion that mean "done"; 0 never.
    oldest_image: seconds from image to thought up to which the arm may move meanwhile. A slower
    policy looks again after its chunk has ended: the commander refuses a thought about an arm
    that has long been elsewhere.
    """

    period: float = 1.0 / 15.0
    rethink_after_rows: int = 4
    sensor_timeout: float = 10.0
    max_refusals: int = 5
    finish_after_rest: float = 3.0
    oldest_image: float = Limits().observation_age_s


class Pace:
    """When to think again: as row k of the running chunk is reached; a slow policy: at its end.

    look_after: images up to this time show an arm that still moves.
    """

    def __init__(self, settings: GoalSettings) -> None:
        self._settings = settings
        self._chunk_end = 0.0
        self.think_at = 0.0
        self.look_after = 0.0

    def accepted(self, stamp: float, now: float, rows: int) -> float:
        """A chunk about the image of ``stamp`` was handed on; when its row 0 starts (seconds)."""
        # Rows the arm executed between the image and now belong to the past; an arm that
        # stood still meanwhile has executed none.
        executed = max(0.0, min(self._chunk_end, now) - stamp)
        begin = now - executed
        period = self._settings.period
        self._chunk_end = begin + rows * period
        self.think_at = begin + min(self._settings.rethink_after_rows, rows) * period
        if now - stamp > self._settings.oldest_image:
            self.think_at = self.look_after = self._chunk_end + SETTLE_S
        return begin

    def interrupted(self, when: float) -> None:
        """What was left of the chunk was dropped at ``when``: look and think at once."""
        self._chunk_end = min(self._chunk_end, when)
        self.think_at, self.look_after = 0.0, when

    def run_whole(self, settle: bool) -> None:
        """Think again only after the chunk a person asked for; settle: when the arm stands."""
        self.think_at = self._chunk_end + (SETTLE_S if settle else 0.0)
        if settle:
            self.look_after = max(self.look_after, self.think_at)
