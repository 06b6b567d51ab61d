"""The one arbiter between policy, person and arm: a state machine with an injected clock.

Feed it what was measured and what is wanted, call ``step`` at 50..100 Hz, send what comes out.
It holds no threads and reads no clock: all times are seconds of the caller's clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.control.arbiter import Decision, Situation, decide
from molmoact_ros.control.chunk_queue import ChunkQueue
from molmoact_ros.control.command import Command, Source
from molmoact_ros.control.follower import Reference, advance, chase
from molmoact_ros.control.guards import (
    Limits,
    Refused,
    check_chunk,
    check_observation_age,
    check_pose,
    check_twist,
    fit_twist,
)
from molmoact_ros.control.integrator import Integrator
from molmoact_ros.geometry import Floats, Pose

MAX_DT_S = 0.05
"""A late tick moves the reference no further than this much time would."""


class Commander:
    """Call order: ``feed_*`` whenever something arrives, ``step`` at a fixed rate; one thread."""

    def __init__(
        self, limits: Limits | None = None, period_s: float = 1 / 15, crossfade_rows: int = 3
    ) -> None:
        self._limits = limits or Limits()
        self._period_s = period_s
        self._queue = ChunkQueue(self._limits, period_s, crossfade_rows)
        self._selected = Source.HOLD
        self._stop_reason = ""
        self._arm_ready, self._arm_detail = True, ""
        self._measured: tuple[Pose, float] | None = None
        self._teleop: tuple[Floats, float] | None = None
        self._tracking = (0.0, 0.0)
        self._reference: Reference | None = None
        self._path: Integrator | None = None
        self._anchored = False
        self._coasting = False
        self._refuse_before = -np.inf
        self._note = ""
        self._chunk_limit = ""
        self._chunk_stamp = 0.0
        self._row = -1
        self._thought_at: float | None = None
        self._gripper: float | None = None
        self._last: float | None = None

    @property
    def selected(self) -> Source:
        return self._selected

    def select_source(self, source: Source, now: float) -> str:
        """Choose who may move the arm. Returns "" or why it was refused."""
        if self._stop_reason and source is not Source.HOLD:
            return f"stopped: {self._stop_reason}; reset first"
        if source is not self._selected:
            self._drop_motion(now)
            self._selected = source
        return ""

    def stop(self, now: float, reason: str = "by the operator") -> None:
        """Come to rest and stay there until ``reset``; the first reason is kept."""
        self._stop_reason = self._stop_reason or reason
        self._drop_motion(now)

    def reset(self, now: float) -> None:
        """Leave a stop: HOLD is selected and the reference is anchored at the measured pose."""
        self._stop_reason = ""
        self._selected = Source.HOLD
        self._drop_motion(now)

    def feed_measured(self, position: ArrayLike, quaternion: ArrayLike, stamp: float) -> None:
        """The arm's fr3_hand_tcp in the base frame at ``stamp``. Raises Refused."""
        pose = check_pose(position, quaternion, self._limits)
        self._measured = pose, stamp
        # Compared on arrival: against a later command an old pose would look like an error.
        self._tracking = (
            (0.0, 0.0) if self._reference is None else _apart(self._reference.pose, pose)
        )

    def feed_arm_ready(self, ready: bool, detail: str = "") -> None:
        """Whether the arm follows references at all (armed, no fault), with its own words."""
        self._arm_ready, self._arm_detail = ready, detail

    def feed_teleop(self, twist: ArrayLike, gripper: float | None, now: float) -> None:
        """A person's twist [6] in the base frame, while the dead-man switch is held.

        Takes over from the policy at once. Raises Refused.
        """
        checked = check_twist(twist)
        if gripper is not None and not 0.0 <= gripper <= 1.0:
            raise Refused(f"gripper {gripper}, expected 0 (closed) .. 1 (open)")
        self._teleop = checked, now
        if self._selected is not Source.HOLD and gripper is not None and not self._stop_reason:
            self._gripper = gripper

    def feed_chunk(
        self, rows: ArrayLike, observation_stamp: float, now: float, goal_id: str = ""
    ) -> str:
        """A thought's chunk [N, 7] about the image of ``observation_stamp``.

        No rows: the thought was refused, what is left of the last one is dropped. Returns ""
        when the chunk will run, else why it was refused (also shown while holding).
        """
        if np.size(rows) == 0:
            self._thought_at = now
            self._queue.clear(now)
            self._coasting = True
            return ""
        try:
            if self._selected is not Source.POLICY or self._stop_reason:
                raise Refused("the policy does not have the arm; select POLICY first")
            if observation_stamp < self._refuse_before:
                raise Refused("its image is older than the last hold; a newer one is on its way")
            moved = self._queue.executed_since(observation_stamp, now)
            check_observation_age(observation_stamp, now, self._limits, moved)
            checked, self._chunk_limit = check_chunk(rows, self._limits, self._period_s)
            self._queue.accept(checked, observation_stamp, now, goal_id)
        except Refused as refusal:
            self._note = f"thought refused: {refusal}"
            if self._thought_at is not None:  # of a goal that runs: the policy is alive
                self._thought_at = now
            return self._note
        self._chunk_stamp, self._note, self._thought_at = observation_stamp, "", now
        return ""

    def end_goal(self, goal_id: str, now: float) -> None:
        """Drop what is left of a goal and refuse whatever still comes for it."""
        self._queue.end_goal(goal_id, now)
        self._coasting = self._coasting or not self._queue.running(now)
        self._thought_at = None

    def step(self, now: float) -> Command:
        """The command of this tick."""
        elapsed = now - self._last if self._last is not None else MAX_DT_S
        self._last = now
        if not 0.0 <= elapsed <= self._limits.command_age_hold_s:
            self._drop_motion(now)
            self._note = f"the commander did not run for {elapsed:.2f} s; lower the computer's load"
        dt = min(max(elapsed, 1e-4), MAX_DT_S)
        decision = decide(self._situation(now), self._limits)
        if decision.lost:
            if self._anchored and not self._stop_reason:
                self._note = decision.reason.replace("holding", "last hold", 1)
            self._drop_motion(now)
        self._anchor(now, decision)
        if self._reference is None or self._path is None:
            return self._command(decision, "", now)
        wanted, felt = self._wanted(decision, now)
        limits = self._limits.widened_to(self._reference.pose)
        self._reference, touched = advance(self._reference, wanted, limits, dt)
        return self._command(
            decision, "; ".join(dict.fromkeys(filter(None, felt + [touched]))), now
        )

    def _situation(self, now: float) -> Situation:
        return Situation(
            selected=self._selected,
            stop_reason=self._stop_reason,
            arm_ready=self._arm_ready,
            arm_detail=self._arm_detail,
            measured_age=None if self._measured is None else now - self._measured[1],
            tracking_m=self._tracking[0],
            tracking_rad=self._tracking[1],
            teleop_age=None if self._teleop is None else now - self._teleop[1],
            chunk_running=self._queue.running(now),
            thought_age=None if self._thought_at is None else now - self._thought_at,
        )

    def _drop_motion(self, now: float) -> None:
        """Forget what was planned; the next motion starts at the measured pose, newly thought."""
        self._queue.clear(now)
        self._anchored = False
        self._refuse_before = now
        self._row = -1

    def _anchor(self, now: float, decision: Decision) -> None:
        if self._measured is None or self._anchored:
            return
        fresh = now - self._measured[1] <= self._limits.measured_age_s
        moving = self._reference is not None and np.abs(self._reference.twist).max() > 1e-6
        stopped = bool(self._stop_reason) and self._reference is not None
        # A reference in motion first comes to rest, so that a hold has no step in speed. Only
        # an arm that left its reference is anchored at once: there the step releases force.
        if not fresh or ((moving or stopped) and not decision.lost):
            return
        self._reference = Reference.at_rest(self._measured[0])
        self._path = Integrator(self._measured[0], self._limits, self._period_s)
        self._anchored, self._tracking = True, (0.0, 0.0)

    def _wanted(self, decision: Decision, now: float) -> tuple[Floats, list[str]]:
        """The twist [6] wanted by whoever has the arm, and the limits it felt."""
        assert self._reference is not None and self._path is not None
        if decision.source is Source.TELEOP and self._teleop is not None:
            self._queue.clear(now)
            self._refuse_before, self._coasting, self._note = now, True, ""
            twist, fast = fit_twist(
                self._teleop[0], self._limits.speed_m_s, self._limits.speed_rad_s
            )
            return twist, ["speed limit"] if fast else []
        if not self._anchored or self._selected is not Source.POLICY:
            self._coasting = True
        if self._coasting:
            # Come to rest wherever that is, instead of swinging back to where a motion ended.
            self._path.anchor(self._reference.pose)
            at_rest = np.abs(self._reference.twist).max() < 1e-6
            self._coasting = not (self._anchored and (at_rest or self._queue.running(now)))
            if self._coasting or not self._queue.running(now):
                return np.zeros(6), []
        felt = [self._chunk_limit] if decision.source is Source.POLICY else []
        while (row := self._queue.next_row(now)) is not None:
            felt.append(self._path.begin_row(row.delta, row.start))
            self._gripper, self._row = row.gripper, row.index
        pose, feed_forward = self._path.at(now)
        room = self._path.room(now, self._queue.pending)
        return chase(self._reference, pose, feed_forward, self._limits, room), felt

    def _command(self, decision: Decision, felt: str, now: float) -> Command:
        source = decision.source if self._anchored else Source.HOLD
        reason = decision.reason or felt
        if source is Source.HOLD and not decision.reason:
            reason = "holding: coming to rest before the next motion"
        if source is Source.HOLD and self._note and not (self._stop_reason or decision.lost):
            reason = f"{reason} ({self._note})"
        age = 0.0
        if source is Source.POLICY:
            age = now - self._chunk_stamp
        elif source is Source.TELEOP and self._teleop is not None:
            age = now - self._teleop[1]
        reference = self._reference
        return Command(
            pose=None if reference is None else reference.pose,
            twist=np.zeros(6) if reference is None else reference.twist,
            gripper=self._gripper,
            source=source,
            enabled=not self._stop_reason,
            limited=bool(felt),
            reason=reason,
            command_age=age,
            tracking_error=self._tracking[0],
            chunk_row=self._row if source is Source.POLICY else -1,
        )


def _apart(a: Pose, b: Pose) -> tuple[float, float]:
    turn = 2.0 * np.arccos(min(1.0, abs(float(a.quaternion @ b.quaternion))))
    return float(np.linalg.norm(a.position - b.position)), float(turn)
