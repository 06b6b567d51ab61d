"""The driver's last guards, and the stream between them and the controller."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molmoact_ros.control.guards import Limits, Refused
from molmoact_ros.geometry import Pose
from molmoact_ros.robot.reference import JUMP_M, ReferenceTrack, check_reference

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
HERE = Pose(np.array([0.45, 0.0, 0.3]), DOWN)
LIMITS = Limits()


def at(x: float, y: float = 0.0, z: float = 0.3) -> Pose:
    return Pose(np.array([x, y, z]), DOWN)


@given(
    arrays(np.float64, 3, elements=st.floats()),
    arrays(np.float64, 4, elements=st.floats()),
)
@settings(deadline=None, max_examples=200)
def test_what_passes_is_finite_near_and_inside(position: np.ndarray, q: np.ndarray) -> None:
    """This is the last code before the motors; it must not depend on its caller."""
    try:
        pose = check_reference(position, q, HERE, LIMITS)
    except Refused:
        return
    assert np.linalg.norm(pose.position - HERE.position) <= JUMP_M
    assert np.linalg.norm(pose.quaternion) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("pose", "word"),
    [
        (at(float("nan")), "finite"),
        (at(0.60), "jumps"),
        (Pose(HERE.position, np.array([0.0, 0.0, 0.0, 1.0])), "jumps"),
        (Pose(HERE.position, DOWN * 3), "norm"),
    ],
)
def test_bad_references_are_refused_in_words(pose: Pose, word: str) -> None:
    """The operator reads this sentence."""
    with pytest.raises(Refused, match=word):
        check_reference(pose.position, pose.quaternion, HERE, LIMITS)


def test_outside_the_box_only_the_way_back_is_open() -> None:
    """An arm outside must be able to come home, and one inside must not leave."""
    with pytest.raises(Refused, match="outside"):
        check_reference([0.72, 0.5, 0.3], DOWN, at(0.72, 0.44), LIMITS)
    outside = at(0.20)
    assert check_reference([0.205, 0.0, 0.3], DOWN, outside, LIMITS)
    with pytest.raises(Refused, match="outside"):
        check_reference([0.17, 0.0, 0.3], DOWN, outside, LIMITS)


def run(track: ReferenceTrack, start: float, seconds: float) -> list[tuple[Pose, np.ndarray]]:
    return [track.take(start + 0.01 * (i + 1)) for i in range(round(seconds / 0.01))]


def test_a_15_hz_stream_becomes_a_line_without_steps() -> None:
    """Handing 15 Hz steps to a stiff controller shakes the arm."""
    track = ReferenceTrack(LIMITS)
    track.reset(HERE, 0.0)
    xs, twists = [], []
    for i in range(30):
        now = i / 15
        track.put(at(0.45 + 0.1 * now), None, now)
        for pose, twist in run(track, now, 1 / 15):
            xs.append(pose.position[0])
            twists.append(twist[0])
    steps = np.diff(xs)[60:]
    assert steps.max() < 0.0016 and steps.min() > 0.0
    assert np.mean(twists[60:]) == pytest.approx(0.1, rel=0.1)


def test_a_jumping_stream_is_followed_at_bounded_speed() -> None:
    """Five centimetres within the jump guard must not be covered in one tick."""
    track = ReferenceTrack(LIMITS)
    track.reset(HERE, 0.0)
    track.put(at(0.50), None, 0.0)
    xs = [HERE.position[0], *(p.position[0] for p, _ in run(track, 0.0, 0.2))]
    assert np.diff(xs).max() <= LIMITS.speed_m_s * 0.01 + 1e-9


def test_a_stream_that_stops_is_held_with_zero_velocity() -> None:
    """A dead commander must not leave a velocity in the controller."""
    track = ReferenceTrack(LIMITS)
    track.reset(HERE, 0.0)
    track.put(at(0.451), np.array([0.1, 0, 0, 0, 0, 0]), 0.0)
    assert track.take(0.1)[1][0] == pytest.approx(0.1)
    pose, twist = track.take(0.3)
    assert np.abs(twist).max() == 0.0 and track.age(0.3) == pytest.approx(0.3)
    assert track.take(1.0)[0].position[0] == pose.position[0]


def test_twists_must_be_finite() -> None:
    """A NaN feed-forward would pass every check of the pose."""
    track = ReferenceTrack(LIMITS)
    track.reset(HERE, 0.0)
    with pytest.raises(Refused):
        track.put(HERE, np.full(6, np.nan), 0.1)
    with pytest.raises(RuntimeError, match="reset"):
        ReferenceTrack(LIMITS).take(0.0)


def test_a_reference_younger_than_the_tick_is_no_error() -> None:
    """Two threads: the put may happen after the tick has read its clock."""
    track = ReferenceTrack(LIMITS)
    track.reset(HERE, 0.0)
    track.put(at(0.46), None, 0.0102)
    pose, _ = track.take(0.0101)
    assert pose.position[0] == pytest.approx(HERE.position[0], abs=1e-6)
