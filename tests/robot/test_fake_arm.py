"""The fake arm has the manners of the real one, so that tests above it mean something."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.geometry import Pose
from molmoact_ros.robot.base import Arm, ArmError
from molmoact_ros.robot.fake_arm import HOME_POSE, FakeArm


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def moved(x: float) -> Pose:
    return Pose(HOME_POSE.position + np.array([x, 0.0, 0.0]), HOME_POSE.quaternion)


def test_it_follows_only_when_armed_and_within_its_speed() -> None:
    """A fake that moves unarmed would hide a missing arm() in a node."""
    clock = Clock()
    arm: Arm = FakeArm(clock=clock)
    assert arm.set_reference(moved(0.01)) != ""
    arm.start()
    assert "arm it first" in arm.set_reference(moved(0.01))
    assert "armed" in arm.arm().result(1.0)
    for _ in range(20):
        clock.now += 0.05
        assert arm.set_reference(moved(0.02)) == ""
    assert arm.state().ee.position[0] == pytest.approx(0.47, abs=1e-3)
    assert "jumps" in arm.set_reference(moved(0.2))


def test_silence_holds_and_then_disarms() -> None:
    """The watchdog is part of the protocol."""
    clock = Clock()
    arm = FakeArm(clock=clock)
    arm.start()
    arm.arm()
    clock.now = 0.5
    assert arm.state().mode == "holding" and arm.state().ready
    clock.now = 2.5
    arm.state()
    assert not arm.state().armed and "no reference came" in arm.state().detail


def test_faults_need_recover_and_arm() -> None:
    """Arming through a fault would make recover() meaningless."""
    arm = FakeArm(clock=Clock())
    arm.start()
    arm.fault("user stop: release it")
    with pytest.raises(ArmError, match="release it"):
        arm.arm().result(1.0)
    assert arm.recover().result(1.0) and arm.arm().result(1.0)
    assert arm.state().ready


def test_the_fingers_move_at_their_speed() -> None:
    """A grasp that is done at once would hide a policy that lifts too early."""
    clock = Clock()
    arm = FakeArm(clock=clock)
    arm.start()
    clock.now = 1.0
    arm.set_gripper(0.0)
    clock.now = 1.3
    assert 0.0 < arm.state().gripper_width < 0.07 and arm.state().gripper_moving
    clock.now = 3.0
    assert arm.state().gripper_width == 0.0 and not arm.state().gripper_moving
