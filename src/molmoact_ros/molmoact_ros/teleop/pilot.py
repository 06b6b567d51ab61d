"""The dead-man switch, the gripper buttons and the silence of a device that is gone.

Nothing moves unless the switch is held, the device is alive, and the stick was at rest since the
switch was pressed: a bent stick or a device knocked over must not throw the arm. Times are seconds
of the caller's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.geometry import Floats
from molmoact_ros.teleop.hand import Hand
from molmoact_ros.teleop.shaping import Shaping


@dataclass(frozen=True)
class PilotOutput:
    """twist [6] in the base frame, None: say nothing, nobody has the arm. gripper: 1 open,
    0 closed, None: as it is. hand_back: give the arm to the policy. note: words for a person."""

    twist: Floats | None = None
    gripper: float | None = None
    hand_back: bool = False
    note: str = ""


class Pilot:
    """Feed it the hand whenever the device speaks, ask it at a fixed rate."""

    def __init__(self, shaping: Shaping, timeout_s: float = 0.25) -> None:
        self._shaping, self._timeout_s = shaping, timeout_s
        self._hand, self._heard = Hand.at_rest(), -np.inf
        self._had_arm = self._centred = False
        self._before = Hand.at_rest()
        self._closed = False
        self._gripper: float | None = None
        self._hand_back = False

    def feed(self, hand: Hand, now: float) -> None:
        """The newest word of the device. Buttons count when they go down."""
        before, self._before = self._hand, hand
        self._hand, self._heard = hand, now
        if hand.dead_man:
            if hand.toggle and not before.toggle:
                self._set_gripper(not self._closed)
            if hand.close and not before.close:
                self._set_gripper(True)
            if hand.open and not before.open:
                self._set_gripper(False)
        self._hand_back |= hand.hand_back and not before.hand_back and not hand.dead_man

    def feed_gripper(self, closed: bool) -> None:
        """How the gripper is, so that the first toggle goes the other way."""
        if not self._had_arm:
            self._closed = closed

    def output(self, now: float) -> PilotOutput:
        """What to send now. After the switch was let go, one zero twist and then nothing."""
        hand_back, self._hand_back = self._hand_back, False
        silent = not 0.0 <= now - self._heard <= self._timeout_s
        if silent or not self._hand.dead_man:
            had, self._had_arm, self._centred = self._had_arm, False, False
            self._gripper = None
            note = "the device is silent; check its cable or battery" if silent and had else ""
            return PilotOutput(np.zeros(6) if had else None, None, hand_back, note)
        self._had_arm = True
        twist = self._shaping.twist(self._hand.axes)
        note = ""
        if not self._centred:
            self._centred = not twist.any()
            if not self._centred:
                twist, note = np.zeros(6), "let the stick spring back to the middle first"
        gripper, self._gripper = self._gripper, None
        return PilotOutput(twist, gripper, False, note)

    def _set_gripper(self, closed: bool) -> None:
        self._closed, self._gripper = closed, 0.0 if closed else 1.0
