"""Streams on one clock: what a tick sees is the past, and motion is interpolated."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.data.resampling import Stream, clock, held, numbers_at, pose_at
from molmoact_ros.geometry import Pose, quaternion_from_rpy


def test_a_tick_holds_the_last_sample_at_or_before_it() -> None:
    """A later sample would let the model see the future."""
    assert held(np.array([10, 20, 30]), np.array([9, 10, 19, 20, 99])).tolist() == [-1, 0, 0, 1, 2]


def test_the_clock_does_not_drift_at_rates_that_do_not_divide_a_second() -> None:
    """15 Hz is 66666666.67 ns: adding a rounded period would lose 20 us a minute."""
    ticks = clock(0, 60 * 10**9, 15.0)
    assert len(ticks) == 901
    assert ticks[900] == 60 * 10**9


def test_the_clock_is_empty_when_the_end_comes_before_the_start() -> None:
    assert len(clock(10, 5, 15.0)) == 0


def test_poses_are_interpolated_in_position_and_rotation() -> None:
    a = Pose(np.zeros(3), quaternion_from_rpy(0.0, 0.0, 0.0))
    b = Pose(np.array([1.0, 0.0, 0.0]), quaternion_from_rpy(0.0, 0.0, 1.0))
    middle = pose_at(Stream(np.array([0, 100]), [a, b]), 25)
    assert middle is not None
    assert middle.position[0] == pytest.approx(0.25)
    assert middle.yaw == pytest.approx(0.25)


def test_there_is_no_pose_outside_the_recording() -> None:
    """Extrapolated arms go through tables."""
    stream = Stream(np.array([10, 20]), [Pose(np.zeros(3), np.array([0, 0, 0, 1.0]))] * 2)
    assert pose_at(stream, 9) is None
    assert pose_at(stream, 21) is None
    assert pose_at(stream, 20) is not None


def test_numbers_are_interpolated_and_their_ends_are_held() -> None:
    stream = Stream(np.array([0, 10]), [np.array([0.0]), np.array([1.0])])
    assert numbers_at(stream, np.array([-5, 5, 15]))[:, 0].tolist() == [0.0, 0.5, 1.0]
