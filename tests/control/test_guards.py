"""The guards hold for every input, not only for the likely ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from molmoact_ros.control.guards import (
    Limits,
    Refused,
    check_chunk,
    check_observation_age,
    check_pose,
    check_twist,
    clamp_to_workspace,
    limit_speed,
    tilt,
    twist_between,
)
from molmoact_ros.geometry import Pose

LIMITS = Limits()
PERIOD = 1 / 15
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
anything = st.floats(width=64)
moderate = st.floats(-3.0, 3.0)


def poses(metres: float = 3.0) -> st.SearchStrategy[Pose]:
    position = arrays(np.float64, 3, elements=st.floats(-metres, metres))
    turn = arrays(np.float64, 3, elements=st.floats(-4.0, 4.0))
    return st.builds(lambda p, r: Pose(p, Rotation.from_rotvec(r).as_quat()), position, turn)


def assert_inside(pose: Pose) -> None:
    assert np.isfinite(pose.position).all() and np.isfinite(pose.quaternion).all()
    assert (pose.position >= np.array(LIMITS.box_min_m) - 1e-9).all()
    assert (pose.position <= np.array(LIMITS.box_max_m) + 1e-9).all()
    assert tilt(pose) <= LIMITS.tilt_rad + 1e-6
    assert np.linalg.norm(pose.quaternion) == pytest.approx(1.0, abs=1e-9)


@given(st.integers(1, 12).flatmap(lambda n: arrays(np.float64, (n, 7), elements=anything)))
@settings(deadline=None, max_examples=200)
def test_whatever_the_chunk_its_steps_are_bounded_or_it_is_refused(rows: np.ndarray) -> None:
    """A chunk that passes could otherwise command a jump of the real arm."""
    try:
        checked, _ = check_chunk(rows, LIMITS, PERIOD)
    except Refused:
        return
    assert np.isfinite(checked).all()
    assert np.linalg.norm(checked[:, :3], axis=1).max() <= LIMITS.step_m + 1e-9
    assert np.linalg.norm(checked[:, :3], axis=1).max() <= LIMITS.speed_m_s * PERIOD + 1e-9
    assert np.linalg.norm(checked[:, 3:6], axis=1).max() <= LIMITS.step_rad + 1e-9
    assert checked[:, 6].min() >= 0.0 and checked[:, 6].max() <= 1.0


@given(arrays(np.float64, (4, 7), elements=st.floats(-0.03, 0.03)))
@settings(deadline=None)
def test_a_shortened_row_keeps_its_direction(rows: np.ndarray) -> None:
    """Clipping each axis alone would bend the motion away from what the policy meant."""
    checked, felt = check_chunk(rows, LIMITS, PERIOD)
    shortened = False
    for before, after in zip(rows[:, :6], checked[:, :6], strict=True):
        length = np.linalg.norm(before)
        factor = np.linalg.norm(after) / length if length > 1e-12 else 1.0
        assert factor <= 1.0 + 1e-9
        np.testing.assert_allclose(after, before * factor, atol=1e-12)
        shortened |= factor < 1.0 - 1e-6
    assert bool(felt) == shortened


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (np.zeros((8, 6)), "shape"),
        (np.zeros((0, 7)), "shape"),
        (np.zeros(7), "shape"),
        ("left", "numbers"),
        ([[0, 0, 0, 0, 0, 0, 0], [0, 0]], "numbers"),
        (np.full((1, 7), np.nan), "not finite"),
        (np.full((1, 7), np.inf), "not finite"),
        ([[0.5, 0, 0, 0, 0, 0, 1]], "units or statistics"),
        ([[0, 0, 0, 0, 0, 2.0, 1]], "units or statistics"),
        ([[0, 0, 0, 0, 0, 0, 255]], "gripper"),
    ],
)
def test_damaged_chunks_are_refused_in_words(rows: object, word: str) -> None:
    """A refusal without a remedy leaves the operator alone."""
    with pytest.raises(Refused, match=word):
        check_chunk(rows, LIMITS, PERIOD)  # type: ignore[arg-type]


@given(poses())
@settings(deadline=None, max_examples=200)
def test_whatever_the_pose_it_ends_inside_the_workspace(pose: Pose) -> None:
    """The box and the tilt cone are the last thing between a bad target and the table."""
    clamped, felt = clamp_to_workspace(pose, LIMITS)
    assert_inside(clamped)
    again, nothing = clamp_to_workspace(clamped, LIMITS)
    np.testing.assert_allclose(again.position, clamped.position, atol=1e-9)
    assert nothing == ""
    if not felt:
        np.testing.assert_allclose(clamped.position, pose.position, atol=1e-8)


@given(poses(), poses(), st.floats(-0.1, 0.3))
@settings(deadline=None, max_examples=200)
def test_whatever_is_wanted_the_speed_is_bounded(previous: Pose, wanted: Pose, dt: float) -> None:
    """One late or wild target must not become a fast motion."""
    pose, limited = limit_speed(previous, wanted, dt, LIMITS)
    if dt < 1e-6:
        assert pose is previous and limited
        return
    twist = twist_between(previous, pose, dt)
    assert np.linalg.norm(twist[:3]) <= LIMITS.speed_m_s * (1 + 1e-6)
    assert np.linalg.norm(twist[3:]) <= LIMITS.speed_rad_s * (1 + 1e-6) + 1e-7 / dt
    assert np.linalg.norm(pose.quaternion) == pytest.approx(1.0, abs=1e-9)


def test_quaternions_are_normalised_only_when_nearly_unit() -> None:
    """(w,x,y,z) mix-ups and zero quaternions must not pass as rotations."""
    pose = check_pose([0.5, 0.0, 0.3], DOWN * 1.005, LIMITS)
    assert np.linalg.norm(pose.quaternion) == pytest.approx(1.0, abs=1e-12)
    for bad in (DOWN * 1.02, DOWN * 0.0, [np.nan, 0, 0, 1]):
        with pytest.raises(Refused):
            check_pose([0.5, 0.0, 0.3], bad, LIMITS)
    with pytest.raises(Refused):
        check_pose([0.5, 0.0, np.inf], DOWN, LIMITS)


def test_old_and_future_observations_are_refused() -> None:
    """A thought about a world of a second ago, or two clocks that disagree."""
    assert check_observation_age(9.5, 10.0, LIMITS) == pytest.approx(0.5)
    assert check_observation_age(10.05, 10.0, LIMITS) == 0.0
    with pytest.raises(Refused, match="old"):
        check_observation_age(8.9, 10.0, LIMITS)
    with pytest.raises(Refused, match="clocks"):
        check_observation_age(10.5, 10.0, LIMITS)
    with pytest.raises(Refused):
        check_observation_age(float("nan"), 10.0, LIMITS)


def test_twists_need_six_finite_numbers() -> None:
    """A broken joystick driver must not steer."""
    assert check_twist([0, 0, 0.1, 0, 0, 0]).shape == (6,)
    for bad in ([0, 0, 0], [0, 0, 0, 0, 0, np.nan]):
        with pytest.raises(Refused):
            check_twist(bad)


def test_absurd_limits_are_refused_at_start() -> None:
    """A typing error in a profile must not switch a guard off."""
    for bad in (
        {"step_m": 0.0},
        {"speed_m_s": float("nan")},
        {"tilt_rad": -1.0},
        {"box_min_m": (0.8, 0.0, 0.0)},
    ):
        with pytest.raises(ValueError, match="limit|box"):
            Limits(**bad)  # type: ignore[arg-type]
