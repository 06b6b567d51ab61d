"""The one arbiter between policy, person and arm: a state machine with an injected clock.

Feed it what was measured and what is wanted, call ``step`` at 50..100 Hz, send what comes out.
It holds no threads and reads no clock: all times are seconds of the caller's clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.control.arbiter import Decision, Situation, decide
from molmoact_ros.control.arm_view import ArmView
from molmoact_ros.control.command import Command, Source
from molmoact_ros.control.corridor import Corridor
from molmoact_ros.control.guards import check_chunk, check_observation_age
from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.control.motion import Motion
from molmoact_ros.control.operator import HandBack, Operator

MAX_DT_S = 0.05
"""A late tick moves the reference no further than this much time would."""


class Commander:
    """Call order: ``feed_*`` whenever something arrives, ``step`` at a fixed rate; one thread.

    Switches that only age (hold-to-run) are set on ``operator`` directly.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        period_s: float = 1 / 15,
        crossfade_rows: int = 3,
        hold_to_run: bool = False,
        hand_back: HandBack = HandBack.RELEASE,
    ) -> None:
        self._limits = limits or Limits()
        self._period_s = period_s
        self._motion = Motion(self._limits, period_s, crossfade_rows)
        self.operator = Operator(self._limits, hold_to_run, hand_back)
        self._arm = ArmView(self._limits)
        self._note = ""
        self._chunk_limit = ""
        self._chunk_stamp = 0.0
        self._thought_at: float | None = None
        self._last: float | None = None

    @property
    def selected(self) -> Source:
        return self.operator.selected

    def select_source(self, source: Source, now: float) -> str:
        """Choose who may move the arm. Returns "" or why it was refused."""
        if self.operator.stop_reason and source is not Source.HOLD:
            return f"stopped: {self.operator.stop_reason}; reset first"
        if source is not self.selected:
            self._motion.drop(now)
            self.operator.selected = source
        return ""

    def stop(self, now: float, reason: str = "by the operator") -> None:
        """Come to rest and stay there until ``reset``; the first reason is kept."""
        self.operator.stop(reason)
        self._motion.drop(now)

    def emergency_stop(self, pressed: bool, now: float) -> None:
        """A switch beside the robot: like ``stop``, and no reset helps while it is pressed."""
        self.operator.emergency_stop(pressed)
        if pressed:
            self._motion.drop(now)

    def reset(self, now: float) -> str:
        """Leave a stop: HOLD is selected, the reference is anchored at the measured pose.

        Returns "" or why it was refused.
        """
        refusal = self.operator.reset()
        if not refusal:
            self._motion.drop(now)
        return refusal

    def feed_measured(
        self, position: ArrayLike, quaternion: ArrayLike, stamp: float, arrival: float | None = None
    ) -> None:
        """The arm's fr3_hand_tcp in the base frame at ``stamp``. Raises Refused.

        arrival: when it came here; it ages by whichever of the two is longer ago.
        """
        self._arm.measure(position, quaternion, stamp, arrival, self._motion.pose)

    def feed_arm_ready(self, ready: bool, detail: str = "") -> None:
        """Whether the arm follows references at all (armed, no fault), with its own words."""
        self._arm.ready, self._arm.detail = ready, detail

    def feed_partner(self, problem: str) -> None:
        """Why the other arm of a pair holds, "" when it moves: then this one holds, too."""
        self._arm.partner = problem

    def feed_teleop(
        self, twist: ArrayLike, gripper: float | None, now: float, stamp: float | None = None
    ) -> None:
        """A person's twist [6] in the base frame, while the dead-man switch is held.

        Takes over from the policy at once. gripper: 1 open, 0 closed, None: as it is.
        stamp: when the hand moved, for what lay in a queue. Raises Refused.
        """
        self.operator.move(twist, now, stamp)
        if gripper is not None:
            self.feed_teleop_gripper(gripper, now)

    def feed_teleop_gripper(self, gripper: float, now: float) -> None:
        """The hand's gripper button; counts while the hand has the arm. Raises Refused."""
        if not 0.0 <= gripper <= 1.0:
            raise Refused(f"gripper {gripper}, expected 0 (closed) .. 1 (open)")
        if self.operator.has_hand(now):
            self._motion.gripper = gripper

    def feed_chunk(
        self, rows: ArrayLike, observation_stamp: float, now: float, goal_id: str = ""
    ) -> str:
        """A thought's chunk [N, 7] about the image of ``observation_stamp``.

        No rows: the thought was refused, what is left of the last one is dropped. Returns ""
        when the chunk will run, else why it was refused (also shown while holding).
        """
        if np.size(rows) == 0:
            self._thought_at = now
            self._motion.queue.clear(now)
            self._motion.coast()
            return ""
        try:
            if self.selected is not Source.POLICY or self.operator.stop_reason:
                raise Refused("the policy does not have the arm; select POLICY first")
            moved = self._motion.queue.executed_since(observation_stamp, now)
            check_observation_age(observation_stamp, now, self._limits, moved)
            if observation_stamp < self._motion.refuse_before:
                raise Refused("its image is older than the last hold; a newer one is on its way")
            checked, self._chunk_limit = check_chunk(rows, self._limits, self._period_s)
            self._motion.queue.accept(checked, observation_stamp, now, goal_id)
        except Refused as refusal:
            self._note = f"thought refused: {refusal}"
            if self._thought_at is not None:  # of a goal that runs: the policy is alive
                self._thought_at = now
            return self._note
        self._chunk_stamp, self._note, self._thought_at = observation_stamp, "", now
        return ""

    def set_corridor(self, corridor: Corridor | None) -> None:
        """Bend the policy's next rows towards a drawn path; None: run them as they are."""
        self._motion.corridor = corridor

    def end_goal(self, goal_id: str, now: float) -> None:
        """Drop what is left of a goal and refuse whatever still comes for it."""
        self._motion.queue.end_goal(goal_id, now)
        if not self._motion.queue.running(now):
            self._motion.coast()
        self._thought_at = None

    def step(self, now: float) -> Command:
        """The command of this tick."""
        elapsed = now - self._last if self._last is not None else MAX_DT_S
        self._last = now
        if not 0.0 <= elapsed <= self._limits.command_age_hold_s:
            self._interrupted(elapsed, now)
        dt = min(max(elapsed, 1e-4), MAX_DT_S)
        decision = decide(self._situation(now), self._limits)
        if decision.lost:
            if self._motion.anchored and not self.operator.stop_reason:
                self._note = decision.reason.replace("holding", "last hold", 1)
            self._motion.drop(now)
        stopped = bool(self.operator.stop_reason)
        measured = self._arm.pose
        fresh = measured is not None and self._arm.fresh(now)
        if measured is not None and fresh and self._motion.anchor(measured, decision.lost, stopped):
            self._arm.tracking = (0.0, 0.0)
        if self._motion.reference is None:
            return self._command(decision, "", now)
        if decision.source is Source.TELEOP:
            self._note = ""
        policy = self.selected is Source.POLICY
        felt = self._motion.move(decision.source, policy, self.operator.twist, now, dt)
        if decision.source is Source.POLICY:
            felt.insert(0, self._chunk_limit)
        return self._command(decision, "; ".join(filter(None, felt)), now)

    def _situation(self, now: float) -> Situation:
        arm, operator = self._arm, self.operator
        return Situation(
            selected=self.selected,
            stop_reason=operator.stop_reason,
            arm_ready=arm.ready,
            arm_detail=arm.detail,
            measured_age=arm.age(now),
            tracking_m=arm.tracking[0],
            tracking_rad=arm.tracking[1],
            teleop_age=operator.teleop_age(now),
            chunk_running=self._motion.queue.running(now),
            thought_age=None if self._thought_at is None else now - self._thought_at,
            may_run=operator.may_run(now),
            partner=arm.partner,
            refusing=arm.refusing,
        )

    def _interrupted(self, elapsed: float, now: float) -> None:
        """Two ticks far apart: nothing that was planned or pressed before counts any more."""
        self._motion.drop(now)
        self.operator.forget()
        self._thought_at = None if self._thought_at is None else now
        self._note = (
            f"the clock went back by {-elapsed:.2f} s; synchronise it (chrony) before moving"
            if elapsed < 0.0
            else f"the commander did not run for {elapsed:.2f} s or the clock jumped; lower the "
            "computer's load, synchronise its clock (chrony)"
        )

    def _command(self, decision: Decision, felt: str, now: float) -> Command:
        source = decision.source if self._motion.anchored else Source.HOLD
        reason = decision.reason or felt
        if source is Source.HOLD and not decision.reason:
            reason = "holding: coming to rest before the next motion"
        quiet = bool(self.operator.stop_reason) or decision.lost
        if source is Source.HOLD and self._note and not quiet:
            reason = f"{reason} ({self._note})"
        age = 0.0
        if source is Source.POLICY:
            age = now - self._chunk_stamp
        elif source is Source.TELEOP:
            age = self.operator.teleop_age(now) or 0.0
        reference = self._motion.reference
        return Command(
            pose=None if reference is None else reference.pose,
            twist=np.zeros(6) if reference is None else reference.twist,
            gripper=self._motion.gripper,
            source=source,
            enabled=not self.operator.stop_reason,
            limited=bool(felt),
            reason=reason,
            command_age=age,
            tracking_error=self._arm.tracking[0],
            chunk_row=self._motion.row if source is Source.POLICY else -1,
            blocked=decision.lost,
        )
