"""The dead-man switch: the arm moves while a person means it, and never otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molmoact_ros.teleop.hand import BadDevice, Hand
from molmoact_ros.teleop.pilot import Pilot
from molmoact_ros.teleop.shaping import VIEWS, Shaping

SHAPING = Shaping()


def hand(forward: float = 0.0, dead_man: bool = True, **buttons: bool) -> Hand:
    return Hand(np.array([forward, 0, 0, 0, 0, 0]), dead_man, **buttons)


def driving() -> Pilot:
    pilot = Pilot(SHAPING)
    pilot.feed(hand(), 0.0)
    assert pilot.output(0.0).twist is not None
    return pilot


def test_without_the_switch_nothing_is_said() -> None:
    pilot = Pilot(SHAPING)
    pilot.feed(hand(1.0, dead_man=False), 0.0)
    assert pilot.output(0.0).twist is None


def test_letting_go_sends_one_stop_and_then_silence() -> None:
    """The stop ends the motion at once; the silence lets the policy have the arm again."""
    pilot = driving()
    pilot.feed(hand(1.0), 0.1)
    moving = pilot.output(0.1).twist
    assert moving is not None and moving[0] > 0.1
    pilot.feed(hand(1.0, dead_man=False), 0.2)
    stop = pilot.output(0.2).twist
    assert stop is not None and not stop.any()
    assert pilot.output(0.22).twist is None


def test_a_silent_device_stops_the_arm_and_is_named() -> None:
    """A wireless pad with an empty battery goes silent with its stick bent."""
    pilot = driving()
    pilot.feed(hand(1.0), 0.1)
    pilot.output(0.1)
    gone = pilot.output(0.5)
    assert gone.twist is not None and not gone.twist.any() and "silent" in gone.note
    assert pilot.output(0.6).twist is None


def test_a_bent_stick_moves_nothing_until_it_was_at_rest() -> None:
    """Pressing the switch on a pad that lies on its stick must not throw the arm."""
    pilot = Pilot(SHAPING)
    pilot.feed(hand(1.0), 0.0)
    bent = pilot.output(0.0)
    assert bent.twist is not None and not bent.twist.any() and "middle" in bent.note
    pilot.feed(hand(0.0), 0.1)
    pilot.output(0.1)
    pilot.feed(hand(1.0), 0.2)
    free = pilot.output(0.2).twist
    assert free is not None and free.any()


def test_the_gripper_button_counts_once_and_only_with_the_switch() -> None:
    pilot = driving()
    pilot.feed(hand(toggle=True), 0.1)
    assert pilot.output(0.1).gripper == 0.0
    pilot.feed(hand(toggle=True), 0.12)
    assert pilot.output(0.12).gripper is None, "a held button is one press"
    pilot.feed(hand(), 0.2)
    pilot.feed(hand(toggle=True), 0.25)
    assert pilot.output(0.25).gripper == 1.0
    pilot.feed(hand(dead_man=False), 0.3)
    pilot.feed(hand(dead_man=False, close=True), 0.31)
    assert pilot.output(0.31).gripper is None


def test_the_first_toggle_opens_what_the_policy_closed() -> None:
    """A hand that takes over with a cube between the fingers must not have to press twice."""
    pilot = Pilot(SHAPING)
    pilot.feed_gripper(closed=True)
    pilot.feed(hand(), 0.0)
    pilot.output(0.0)
    pilot.feed(hand(toggle=True), 0.1)
    assert pilot.output(0.1).gripper == 1.0


def test_the_arm_is_handed_back_once_and_not_while_the_switch_is_held() -> None:
    pilot = driving()
    pilot.feed(hand(hand_back=True), 0.1)
    assert not pilot.output(0.1).hand_back
    pilot.feed(hand(dead_man=False), 0.2)
    pilot.feed(hand(dead_man=False, hand_back=True), 0.3)
    assert pilot.output(0.3).hand_back and not pilot.output(0.32).hand_back


@given(arrays(np.float64, 6, elements=st.floats(-1.0, 1.0)), st.sampled_from(sorted(VIEWS)))
def test_no_deflection_is_faster_than_the_speed(axes: np.ndarray, view: str) -> None:
    twist = Shaping(view=view).twist(axes)
    assert np.linalg.norm(twist[:3]) <= SHAPING.speed_m_s + 1e-9
    assert np.linalg.norm(twist[3:]) <= SHAPING.speed_rad_s + 1e-9


@given(arrays(np.float64, 6, elements=st.floats(-1.0, 1.0)))
def test_a_push_keeps_its_direction(axes: np.ndarray) -> None:
    """A dead zone for each axis alone would bend diagonals towards the axes."""
    moved = SHAPING.twist(axes)[:3]
    cross = np.cross(moved, axes[:3])
    assert np.abs(cross).max() < 1e-9 and moved @ axes[:3] >= 0.0


def test_facing_the_robot_forward_is_towards_it() -> None:
    forward = np.array([1.0, 0, 0, 0, 0, 0])
    assert Shaping(view="behind").twist(forward)[0] > 0.0
    assert Shaping(view="facing").twist(forward)[0] < 0.0
    left_of_robot = Shaping(view="left").twist(forward)
    assert left_of_robot[1] < 0.0, "who stands at the robot's left pushes to its right"


def test_settings_that_make_no_sense_are_refused() -> None:
    for bad in ({"view": "above"}, {"dead_zone": 1.0}, {"speed_m_s": float("nan")}, {"power": 0.5}):
        with pytest.raises(BadDevice):
            Shaping(**bad)  # type: ignore[arg-type]
