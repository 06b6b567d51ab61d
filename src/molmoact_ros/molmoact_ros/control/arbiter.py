"""Who may move the arm: one decision a tick, from the situation alone.

Hold beats everything, a person's hand beats the policy. Pure: the commander gathers the
situation, this file ranks it, so the whole order of precedence can be read in one place.
"""

from __future__ import annotations

from dataclasses import dataclass

from molmoact_ros.control.command import Source
from molmoact_ros.control.guards import Limits

SILENT_POLICY_S = 2.0
"""Without a thought for longer than this, a person should look after the policy."""


@dataclass(frozen=True)
class Situation:
    """Everything the decision needs; ages in seconds, errors in metres and radians.

    measured_age: by stamp or by arrival, whichever is longer; negative: from the future.
    thought_age: since the last chunk of a goal that has not ended; None without such a goal.
    may_run: the hold-to-run button is pressed, or none is required.
    refusing: the arm is ready but does not follow the newest target (a margin of its own).
    partner: why the other arm of a pair holds; "" when it moves or there is none.
    """

    selected: Source
    stop_reason: str
    arm_ready: bool
    arm_detail: str
    measured_age: float | None
    tracking_m: float
    tracking_rad: float
    teleop_age: float | None
    chunk_running: bool
    thought_age: float | None = None
    may_run: bool = True
    partner: str = ""
    refusing: bool = False


@dataclass(frozen=True)
class Decision:
    """The winner and why. ``lost``: commanded and measured pose no longer belong together."""

    source: Source
    reason: str
    lost: bool = False


def decide(now: Situation, limits: Limits) -> Decision:
    """Rank the situation; the first rule that fits wins."""
    if now.measured_age is None:
        return Decision(
            Source.HOLD,
            "holding: no measured pose yet; start the arm node and check its connection",
            lost=True,
        )
    far = now.tracking_m > limits.tracking_error_m or now.tracking_rad > limits.tracking_error_rad
    if now.stop_reason:
        # A stopped arm may be guided or sent home: the reference goes along with it.
        lost = far or not now.arm_ready
        return Decision(Source.HOLD, f"stopped: {now.stop_reason}; reset to go on", lost)
    if now.measured_age < -limits.clock_skew_s:
        return Decision(
            Source.HOLD,
            f"holding: the measured pose is {-now.measured_age:.1f} s in the future; synchronise "
            "the clocks of the arm's computer and this one (chrony)",
            lost=True,
        )
    if now.measured_age > limits.measured_age_s:
        return Decision(
            Source.HOLD,
            f"holding: the measured pose is {now.measured_age:.1f} s old; "
            "check the arm node and the network to the robot",
            lost=True,
        )
    if not now.arm_ready:
        detail = now.arm_detail or "it does not say why; look at its status"
        return Decision(Source.HOLD, f"holding: the arm is not ready: {detail}", lost=True)
    if far:
        remedy = now.arm_detail or "look for an obstacle in its way or an arm that is not armed"
        return Decision(
            Source.HOLD,
            f"holding: the arm is {now.tracking_m * 100:.1f} cm / {now.tracking_rad:.2f} rad away "
            f"from its command; {remedy}",
            lost=True,
        )
    if now.refusing:
        return Decision(Source.HOLD, f"holding: {now.arm_detail}", lost=True)
    if now.partner:
        return Decision(Source.HOLD, f"holding: {now.partner}")
    if now.selected is Source.HOLD:
        return Decision(Source.HOLD, "holding: select POLICY or TELEOP to move")
    if now.teleop_age is not None and now.teleop_age <= limits.command_age_hold_s:
        return Decision(Source.TELEOP, "")
    if now.selected is Source.TELEOP:
        return Decision(Source.HOLD, "holding: waiting for the teleoperation device")
    if not now.may_run:
        return Decision(Source.HOLD, "holding: keep the hold-to-run button pressed")
    if now.chunk_running:
        return Decision(Source.POLICY, "")
    if now.thought_age is not None and now.thought_age > SILENT_POLICY_S:
        return Decision(
            Source.HOLD,
            f"holding: no thought for {now.thought_age:.0f} s although a goal runs; "
            "check that the policy node runs and sees its cameras",
        )
    return Decision(Source.HOLD, "holding: waiting for the next thought")
