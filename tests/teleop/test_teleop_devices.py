"""Devices to hands: every axis goes the way a person means it, and damaged input moves nothing."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmoact_ros.control.kinematics import tool_pose
from molmoact_ros.geometry import Pose
from molmoact_ros.teleop.hand import BadDevice, Hand
from molmoact_ros.teleop.joy import LAYOUTS, JoyReader
from molmoact_ros.teleop.keyboard import WINDOW_S, KeyHand
from molmoact_ros.teleop.leader import Leader, leader_pose
from molmoact_ros.teleop.spacemouse import SpaceMouseReports

REST = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def buttons(*pressed: int, count: int = 11) -> list[int]:
    return [int(i in pressed) for i in range(count)]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_only_the_dead_man_button_is_the_dead_man_switch(layout: str) -> None:
    """A wrong button number would let the arm move without anybody meaning it."""
    reader, switch = JoyReader(layout), LAYOUTS[layout].dead_man
    for button in range(11):
        assert reader.hand(REST, buttons(button)).dead_man == (button == switch)


def test_an_xbox_pad_moves_forward_left_and_up() -> None:
    """Sticks forward and left are positive in ROS's joy; the right trigger lifts."""
    reader = JoyReader("xbox")
    reader.hand(REST, buttons())
    forward, left, up = [*REST], [*REST], [*REST]
    forward[1], left[0], up[5] = 1.0, 1.0, -1.0
    for axes, axis in ((forward, 0), (left, 1), (up, 2)):
        moved = reader.hand(axes, buttons(4)).axes
        assert moved[axis] == 1.0 and np.abs(np.delete(moved, axis)).max() == 0.0


def test_an_untouched_trigger_is_not_half_pressed() -> None:
    """joy_node says 0 for a trigger until it moves; read as a position that would lift the arm."""
    assert not JoyReader("xbox").hand([0.0] * 8, buttons(4)).axes.any()


def test_a_device_with_too_few_axes_is_named() -> None:
    with pytest.raises(BadDevice, match="2 axes"):
        JoyReader("xbox").hand([0.0, 0.0], buttons(4))
    with pytest.raises(BadDevice, match="choose one of"):
        JoyReader("wheel")


@given(st.lists(st.floats(), min_size=8, max_size=8))
def test_no_joy_message_gives_axes_outside_one(axes: list[float]) -> None:
    """A driver's NaN must not become a speed."""
    try:
        hand = JoyReader("xbox").hand(axes, buttons(4))
    except BadDevice:
        return
    assert np.isfinite(hand.axes).all() and np.abs(hand.axes).max() <= 1.0


def test_a_spacemouse_pushed_away_goes_forward_and_lifted_goes_up() -> None:
    """The device's y points at the person and its z into the table."""
    reports = SpaceMouseReports()
    reports.feed(bytes([1]) + struct.pack("<3h", 0, -350, -175))
    reports.feed(bytes([2]) + struct.pack("<3h", 0, 0, -350))
    reports.feed(bytes([3, 1, 0]))
    np.testing.assert_allclose(reports.hand.axes, [1.0, 0.0, 0.5, 0.0, 0.0, 1.0])
    assert reports.hand.dead_man and not reports.hand.toggle
    reports.feed(bytes([1]) + struct.pack("<6h", 350, 0, 0, 0, 0, 0))
    np.testing.assert_allclose(reports.hand.axes, [0.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    reports.feed(bytes([3, 2, 0]))
    assert reports.hand.toggle and not reports.hand.dead_man


@given(st.binary(max_size=20))
def test_no_report_breaks_the_spacemouse_reader(report: bytes) -> None:
    """Other models send reports of other lengths and numbers."""
    reports = SpaceMouseReports()
    reports.feed(report)
    assert np.abs(reports.hand.axes).max() <= 1.0


def test_a_key_counts_only_while_it_is_repeated() -> None:
    """A terminal sends no key-up: without the window a stroke would move the arm for ever."""
    keys = KeyHand()
    keys.feed("w", 10.0)
    assert keys.hand(10.0).dead_man and keys.hand(10.0).axes[0] > 0.0
    assert not keys.hand(10.0 + WINDOW_S + 0.01).dead_man
    assert not keys.hand(9.0).dead_man, "a clock that went back presses nothing"
    keys.feed("x", 11.0)
    assert not keys.hand(11.0).dead_man, "other keys mean nothing"


def test_opposite_keys_cancel() -> None:
    keys = KeyHand()
    keys.feed("a", 1.0)
    keys.feed("d", 1.0)
    assert keys.hand(1.0).axes[1] == 0.0


def test_a_hand_needs_six_finite_axes() -> None:
    with pytest.raises(BadDevice, match="six"):
        Hand(np.zeros(5))
    with pytest.raises(BadDevice, match="finite"):
        Hand(np.array([np.nan, 0, 0, 0, 0, 0]))


def test_a_leader_moves_the_arm_by_what_it_moved_since_the_clutch_closed() -> None:
    """Closing the clutch must not pull the arm to where the leader happens to be."""
    leader = Leader()
    arm = Pose(np.array([0.5, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))
    away = np.array([2.0, 1.0, 1.0])
    leader.feed(Pose(away, arm.quaternion), 1.0)
    start = leader.twist(True, arm, 1.0)
    assert start is not None and np.abs(start).max() < 1e-9
    leader.feed(Pose(away + [0.0, 0.0, 0.02], arm.quaternion), 1.02)
    moving = leader.twist(True, arm, 1.02)
    assert moving is not None and moving[2] > 0.05 and np.abs(moving[:2]).max() < 1e-9
    assert leader.twist(False, arm, 1.03) is None
    assert leader.twist(True, arm, 2.0) is None, "a silent leader moves nothing"


def test_gello_joints_are_read_as_the_arm_s_own() -> None:
    home = [0.0, -0.5, 0.0, -2.3, 0.0, 1.85, 0.785]
    np.testing.assert_allclose(leader_pose([*home, 0.5]).position, tool_pose(home).position)
    with pytest.raises(BadDevice, match="6 joints"):
        leader_pose(home[:6])
    with pytest.raises(BadDevice, match="finite"):
        leader_pose([*home[:6], float("nan")])
