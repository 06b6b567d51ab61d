"""What the person beside the arm wants: switches and a hand, and how long each of them counts.

Everything here is latched or ages; nothing decides. arbiter.py ranks it. Times are seconds of the
caller's clock.
"""

from __future__ import annotations

from enum import Enum

from numpy.typing import ArrayLike

from molmoact_ros.control.command import Source
from molmoact_ros.control.guards import check_twist
from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.geometry import Floats


class HandBack(Enum):
    """What happens when a hand that took the arm from the policy lets go."""

    RELEASE = "release"
    """The policy goes on with its next thought."""
    ASK = "ask"
    """TELEOP stays selected until somebody selects POLICY again."""


class Operator:
    """Source, stop, e-stop, hold-to-run and the teleoperation device."""

    def __init__(
        self, limits: Limits, hold_to_run: bool = False, hand_back: HandBack = HandBack.RELEASE
    ) -> None:
        self._limits, self._needs_hold, self._hand_back = limits, hold_to_run, hand_back
        self.selected = Source.HOLD
        self.stop_reason = ""
        self._estop_pressed = False
        self._held_at: float | None = None
        self._twist: Floats | None = None
        self._twist_at: float | None = None
        self._arrived: float | None = None

    @property
    def twist(self) -> Floats | None:
        """The last twist [6] of the device, however old."""
        return self._twist

    def stop(self, reason: str) -> None:
        """Latched until ``reset``; the first reason is kept."""
        self.stop_reason = self.stop_reason or reason

    def reset(self) -> str:
        """Leave a stop with HOLD selected. Returns "" or why it was refused."""
        if self._estop_pressed:
            return "the emergency stop is still pressed; release it, then reset"
        self.stop_reason, self.selected = "", Source.HOLD
        return ""

    def emergency_stop(self, pressed: bool) -> None:
        """A switch beside the robot: stops while pressed, and latched afterwards."""
        self._estop_pressed = pressed
        if pressed:
            self.stop("emergency stop")

    def hold_to_run(self, pressed: bool, now: float) -> None:
        """A button that has to be reported pressed again and again while the policy moves."""
        self._held_at = now if pressed else None

    def may_run(self, now: float) -> bool:
        """Whether the policy may move the arm as far as the hold-to-run button goes."""
        if not self._needs_hold:
            return True
        return self._held_at is not None and self._fresh(self._held_at, now)

    def move(self, twist: ArrayLike, now: float, stamp: float | None = None) -> None:
        """A twist [6] of the device, while its dead-man switch is held. Raises Refused.

        stamp: when the hand moved. A twist that lay in a queue for longer than a command may be
        old is refused, however freshly it arrived.
        """
        checked = check_twist(twist)
        if stamp is not None and not self._fresh(stamp, now):
            raise Refused(
                f"the hand's twist is {now - stamp:.2f} s old; check the network to the "
                "teleoperation device, and synchronise the clocks (chrony)"
            )
        self._twist, self._arrived = checked, now
        self._twist_at = now if stamp is None else min(stamp, now)
        if self.selected is Source.POLICY and self._hand_back is HandBack.ASK:
            self.selected = Source.TELEOP

    def teleop_age(self, now: float) -> float | None:
        """Seconds since the hand moved, by stamp or by arrival, whichever is longer."""
        if self._arrived is None or self._twist_at is None:
            return None
        return max(now - self._twist_at, now - self._arrived)

    def has_hand(self, now: float) -> bool:
        """Whether a person's hand moves the arm now."""
        age = self.teleop_age(now)
        allowed = self.selected is not Source.HOLD and not self.stop_reason
        return allowed and age is not None and age <= self._limits.command_age_hold_s

    def forget(self) -> None:
        """After a jump of the clock: what was pressed or moved counts no longer."""
        self._held_at = self._twist_at = self._arrived = None

    def _fresh(self, stamp: float, now: float) -> bool:
        return -self._limits.clock_skew_s <= now - stamp <= self._limits.command_age_hold_s
