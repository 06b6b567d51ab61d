"""An arm without physics for tests of whatever stands above it: it is where it is told to be.

It keeps the manners of the real driver (arming, guards, watchdog, gripper decisions) and moves
at a bounded speed. Time is injected; nothing happens between two calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.robot.base import ArmError, ArmState
from molmoact_ros.robot.gripper import OPEN_WIDTH_M, SPEED_M_S, GripperDecider
from molmoact_ros.robot.reference import ReferenceTrack, check_reference

HOME_POSE = Pose(np.array([0.45, 0.0, 0.30]), np.array([1.0, 0.0, 0.0, 0.0]))
HOME_JOINTS = np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.85, 0.785])
RETREAT_M = 0.05


class FakeArm:
    """The Arm protocol on a kinematic point; ``fault`` breaks it on purpose."""

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._limits, self._clock = limits or Limits(), clock
        self._track = ReferenceTrack(self._limits)
        self._pose = HOME_POSE
        self._width, self._goal_width = OPEN_WIDTH_M, OPEN_WIDTH_M
        self._decider = GripperDecider()
        self._connected = self._armed = False
        self._fault = self._note = ""
        self._then = clock()

    def start(self) -> None:
        self._connected = True

    def close(self) -> None:
        self._connected = self._armed = False

    def fault(self, detail: str) -> None:
        """Disarm with ``detail`` until ``recover``."""
        self._armed, self._fault = False, detail

    def state(self) -> ArmState:
        self._advance()
        mode = "fault" if self._fault else "tracking" if self._armed else "idle"
        if mode == "tracking" and self._age() > self._limits.command_age_hold_s:
            mode = "holding"
        return ArmState(
            stamp=self._clock(),
            connected=self._connected,
            armed=self._armed,
            mode=mode if self._connected else "disconnected",
            detail=self._fault or self._note,
            success_rate=1.0 if self._connected else 0.0,
            q=HOME_JOINTS.copy(),
            ee=self._pose,
            gripper_width=self._width,
            gripper_moving=abs(self._width - self._goal_width) > 1e-6,
        )

    def set_reference(self, pose: Pose, twist: Floats | None = None) -> str:
        state = self.state()
        if not state.ready:
            return state.detail or f"the arm is {state.mode}; arm it first"
        try:
            checked = check_reference(pose.position, pose.quaternion, state.ee, self._limits)
            self._track.put(checked, twist, self._clock())
        except Refused as refusal:
            return str(refusal)
        return ""

    def set_gripper(self, opening: float) -> None:
        self._decider.put(opening)
        self._advance()

    def arm(self) -> Future[str]:
        if self._connected and not self._fault:
            self._armed, self._note = True, ""
            self._track.reset(self._pose, self._clock())
        return self._answer("armed: following references from here")

    def disarm(self) -> Future[str]:
        self._armed = False
        return _done("the arm is at rest and disarmed")

    def stop(self) -> Future[str]:
        return self.disarm()

    def recover(self) -> Future[str]:
        self._fault = ""
        return self._answer("recovered; arm to go on")

    def home(self) -> Future[str]:
        if self._connected and not self._fault:
            self._armed, self._pose = False, HOME_POSE
        return self._answer("the arm is at home")

    def retreat(self) -> Future[str]:
        if self._connected and not self._fault:
            up = self._pose.position + np.array([0.0, 0.0, RETREAT_M])
            self._armed, self._pose = False, Pose(up, self._pose.quaternion)
        return self._answer("the arm has retreated")

    def _answer(self, text: str) -> Future[str]:
        if not self._connected:
            return _done("not connected; call start first", failed=True)
        return _done(self._fault or text, failed=bool(self._fault))

    def _age(self) -> float:
        return self._track.age(self._clock())

    def _advance(self) -> None:
        now = self._clock()
        dt, self._then = now - self._then, now
        if self._armed:
            self._pose, _ = self._track.take(now)
            if self._age() > self._limits.command_age_stop_s:
                self._armed, self._note = False, "disarmed: no reference came; arm again"
        step = SPEED_M_S * max(dt, 0.0)
        self._width += float(np.clip(self._goal_width - self._width, -step, step))
        close = self._decider.decide(now)
        if close is not None:
            self._goal_width = 0.0 if close else OPEN_WIDTH_M


def _done(text: str, failed: bool = False) -> Future[str]:
    future: Future[str] = Future()
    if failed:
        future.set_exception(ArmError(text))
    else:
        future.set_result(text)
    return future
