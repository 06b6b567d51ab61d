"""The reference the arm is asked to follow: who has the arm decides, this file moves it.

It chases rows of chunks or a hand's twist and otherwise comes to rest; it never jumps, except onto
an arm that has left it. Times are seconds of the caller's clock.
"""

from __future__ import annotations

import numpy as np

from molmoact_ros.control.chunk_queue import ChunkQueue
from molmoact_ros.control.command import Source
from molmoact_ros.control.corridor import Corridor
from molmoact_ros.control.follower import Reference, advance, chase
from molmoact_ros.control.guards import fit_twist
from molmoact_ros.control.integrator import Integrator
from molmoact_ros.control.limits import Limits
from molmoact_ros.geometry import Floats, Pose


class Motion:
    """``reference`` is None until the arm was first measured. ``anchored``: it belongs to it."""

    def __init__(self, limits: Limits, period_s: float, crossfade_rows: int) -> None:
        self._limits, self._period_s = limits, period_s
        self.queue = ChunkQueue(limits, period_s, crossfade_rows)
        self.reference: Reference | None = None
        self.anchored = False
        self.refuse_before = -np.inf
        self.row = -1
        self.gripper: float | None = None
        self.corridor: Corridor | None = None
        self._path: Integrator | None = None
        self._coasting = False

    @property
    def pose(self) -> Pose | None:
        return None if self.reference is None else self.reference.pose

    def drop(self, now: float) -> None:
        """Forget what was planned; the next motion starts at the measured pose, newly thought."""
        self.drop_rows(now)
        self.anchored = False
        self.row = -1

    def drop_rows(self, now: float) -> None:
        """Forget the rows; thoughts about images from before ``now`` are of no more use."""
        self.queue.clear(now)
        self.refuse_before, self._coasting = now, True

    def coast(self) -> None:
        """Come to rest wherever that is, instead of swinging back to where a motion ended."""
        self._coasting = True

    def anchor(self, measured: Pose, at_once: bool, stopped: bool) -> bool:
        """Start again from ``measured``; whether that was done.

        A reference in motion first comes to rest, so that a hold has no step in speed. Only an
        arm that left its reference is anchored ``at_once``: there the step releases force.
        """
        moving = self.reference is not None and np.abs(self.reference.twist).max() > 1e-6
        wait = moving or (stopped and self.reference is not None)
        if self.anchored or (wait and not at_once):
            return False
        self.reference = Reference.at_rest(measured)
        self._path = Integrator(measured, self._limits, self._period_s)
        self.anchored = True
        return True

    def move(
        self, source: Source, policy_selected: bool, hand: Floats | None, now: float, dt: float
    ) -> list[str]:
        """Move the reference by one tick of ``dt`` s; returns the limits that were felt."""
        assert self.reference is not None, "anchor() first"
        wanted, felt = self._wanted(source, policy_selected, hand, now)
        limits = self._limits.widened_to(self.reference.pose)
        self.reference, touched = advance(self.reference, wanted, limits, dt)
        return list(dict.fromkeys(filter(None, [*felt, touched])))

    def _wanted(
        self, source: Source, policy_selected: bool, hand: Floats | None, now: float
    ) -> tuple[Floats, list[str]]:
        """The twist [6] wanted by whoever has the arm, and the limits it felt."""
        assert self.reference is not None and self._path is not None
        if source is Source.TELEOP and hand is not None:
            self.drop_rows(now)
            twist, fast = fit_twist(hand, self._limits.speed_m_s, self._limits.speed_rad_s)
            return twist, ["speed limit"] if fast else []
        if source is Source.HOLD and self.queue.running(now):
            # Held in the middle of a chunk: what is left of it is about an arm that moved on.
            self.drop_rows(now)
        if not self.anchored or not policy_selected:
            self._coasting = True
        if self._coasting:
            self._path.anchor(self.reference.pose)
            at_rest = np.abs(self.reference.twist).max() < 1e-6
            self._coasting = not (self.anchored and (at_rest or self.queue.running(now)))
            if self._coasting or not self.queue.running(now):
                return np.zeros(6), []
        felt = []
        while (row := self.queue.next_row(now)) is not None:
            delta = row.delta
            if self.corridor is not None:
                here = self._path.target.position
                delta = self.corridor.bent(here, delta, self._limits.step_m)
            felt.append(self._path.begin_row(delta, row.start))
            self.gripper, self.row = row.gripper, row.index
        pose, feed_forward = self._path.at(now)
        room = self._path.room(now, self.queue.pending)
        return chase(self.reference, pose, feed_forward, self._limits, room), felt
