"""Chunks in motion: which row of which thought runs now.

The policy thinks while the arm moves. A chunk is about the moment of its image; by the time it
arrives, part of the older chunk has been executed, so the same number of its own rows is dropped
and the next few are cross-faded with what the older chunk still meant to do.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from molmoact_ros.control.guards import CHUNK_COLUMNS
from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.geometry import Floats

_HISTORY_S = 5.0
_ENDED_GOALS = 32


@dataclass(frozen=True)
class Row:
    """One row: delta [6] in the base frame, gripper (1 open, 0 closed), start time, row number."""

    delta: Floats
    gripper: float
    start: float
    index: int


class ChunkQueue:
    """The rows still to run. Times are seconds of one clock, passed in by the caller."""

    def __init__(self, limits: Limits, period_s: float = 1 / 15, crossfade_rows: int = 3) -> None:
        if period_s <= 0.0 or crossfade_rows < 0:
            raise ValueError(f"period {period_s} s, cross-fade {crossfade_rows} rows: not possible")
        self._limits = limits
        self._period_s = period_s
        self._crossfade_rows = crossfade_rows
        self._pending: deque[tuple[int, Floats]] = deque()
        self._busy: deque[tuple[float, float]] = deque()
        self._next_start = -np.inf
        self._goal_id = ""
        self._ended: deque[str] = deque(maxlen=_ENDED_GOALS)

    @property
    def pending(self) -> Floats:
        """The rows [N, 7] not yet begun."""
        return np.array([row for _, row in self._pending]).reshape(-1, CHUNK_COLUMNS)

    def running(self, now: float) -> bool:
        """Whether a row is in progress or waiting at ``now``."""
        return bool(self._pending) or now < self._busy_until

    def accept(self, rows: Floats, start_stamp: float, now: float, goal_id: str = "") -> int:
        """Take over a checked chunk [N, 7] whose row 0 belongs to ``start_stamp``.

        Rows count as elapsed for as long as rows were being EXECUTED since ``start_stamp``: an
        arm that held still while the policy thought has done nothing of the new chunk, so none
        of it is dropped. Returns the number of rows dropped. Raises Refused when the goal has
        ended, when nothing is left of the chunk, or when it jumps away from the running one.
        """
        if goal_id in self._ended:
            raise Refused(
                f"the chunk belongs to goal {goal_id!r}, which has ended; start a new one"
            )
        begin = self._next_start if self._pending else max(self._busy_until, now)
        rest_of_row = max(0.0, self._busy_until - now)
        elapsed = self.executed_since(start_stamp, now) + rest_of_row
        dropped = int(round(elapsed / self._period_s))
        if dropped >= len(rows):
            raise Refused(
                f"the chunk came too late: {dropped} rows were executed since its image and it "
                f"has {len(rows)}; think earlier (rethink_after_rows) or use a faster policy"
            )
        fresh = np.array(rows[dropped:], dtype=np.float64)
        old = self.pending
        if len(old):
            self._check_seam(old[0], fresh[0])
        overlap = min(self._crossfade_rows, len(old), len(fresh))
        if overlap:
            weight = (np.arange(overlap) + 1.0)[:, None] / (overlap + 1.0)
            # The gripper column is a decision, not a path: the newer thought has it.
            fresh[:overlap, :6] = (1 - weight) * old[:overlap, :6] + weight * fresh[:overlap, :6]
        self._switch_goal(goal_id)
        self._pending = deque(enumerate(fresh, start=dropped))
        self._next_start = begin
        return dropped

    def next_row(self, now: float) -> Row | None:
        """The next row whose time has come, else None; call until None."""
        if not self._pending:
            return None
        start = self._next_start
        if start > now:
            return None
        index, row = self._pending.popleft()
        end = self._next_start = start + self._period_s
        if self._busy and start - self._busy[-1][1] < 1e-9:
            self._busy[-1] = (self._busy[-1][0], end)
        else:
            self._busy.append((start, end))
        while self._busy and self._busy[0][1] < now - _HISTORY_S:
            self._busy.popleft()
        return Row(row[:6].copy(), float(row[6]), start, index)

    def clear(self, now: float) -> None:
        """Drop everything, the row in progress included."""
        self._pending.clear()
        # A loop: after the clock was set back even old rows seem to lie in the future.
        while self._busy and self._busy[-1][1] > now:
            begin, _ = self._busy.pop()
            if begin < now:
                self._busy.append((begin, now))

    def end_goal(self, goal_id: str, now: float) -> None:
        """Drop the goal's rows and refuse its later chunks."""
        if goal_id and goal_id not in self._ended:
            self._ended.append(goal_id)
        if goal_id == self._goal_id:
            self.clear(now)

    def _switch_goal(self, goal_id: str) -> None:
        if goal_id != self._goal_id and self._goal_id and self._goal_id not in self._ended:
            self._ended.append(self._goal_id)
        self._goal_id = goal_id

    @property
    def _busy_until(self) -> float:
        return self._busy[-1][1] if self._busy else -np.inf

    def executed_since(self, stamp: float, now: float) -> float:
        """Seconds of rows executed between ``stamp`` and ``now``."""
        return sum(max(0.0, min(end, now) - max(begin, stamp)) for begin, end in self._busy)

    def _check_seam(self, old: Floats, fresh: Floats) -> None:
        gap = fresh - old
        metres, radians = float(np.linalg.norm(gap[:3])), float(np.linalg.norm(gap[3:6]))
        if metres > self._limits.seam_m or radians > self._limits.seam_rad:
            raise Refused(
                f"the chunk jumps: its next row differs by {metres:.3f} m / {radians:.2f} rad from "
                f"the running one, allowed are {self._limits.seam_m:g} m / "
                f"{self._limits.seam_rad:g} rad; the arm finishes the older thought and thinks anew"
            )
