"""Joint limits and singularities: near is allowed, deeper in is not, out always is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.control.kinematics import dexterity, jacobian, joints_towards, tool_pose
from molmoact_ros.control.limits import Refused
from molmoact_ros.control.margins import Margins, check_margins
from molmoact_ros.geometry import Pose

LOW = (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)
HIGH = (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159)
MARGINS = Margins(LOW, HIGH)
HOME = np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.85, 0.785])
joints = st.tuples(*(st.floats(low, high) for low, high in zip(LOW, HIGH, strict=True)))


def walk(q: np.ndarray, direction: list[float], steps: int) -> tuple[np.ndarray, str]:
    """Follow references 1 cm ahead with a perfect arm; where it ends and why."""
    previous = tool_pose(q)
    for _ in range(steps):
        here = tool_pose(q)
        wanted = Pose(here.position + 0.01 * np.array(direction), here.quaternion)
        try:
            check_margins(q, here, previous, wanted, MARGINS)
        except Refused as refusal:
            return q, str(refusal)
        previous = wanted
        q = q + joints_towards(q, np.concatenate([wanted.position - here.position, np.zeros(3)]))
    return q, ""


@given(joints)
@settings(deadline=None, max_examples=60)
def test_the_jacobian_is_the_derivative_of_the_pose(q: tuple[float, ...]) -> None:
    """Everything about margins rests on it."""
    here, step = np.array(q), 1e-6
    matrix = jacobian(here)
    for column in range(7):
        moved = here.copy()
        moved[column] += step
        change = (tool_pose(moved).position - tool_pose(here).position) / step
        np.testing.assert_allclose(change, matrix[:3, column], atol=1e-4)


@given(joints, st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_joint_speeds_stay_finite_everywhere(q: tuple[float, ...], axis: int) -> None:
    """Also in a singularity, where the exact answer is infinite."""
    speeds = joints_towards(np.array(q), np.eye(6)[axis] * 0.25)
    assert np.isfinite(speeds).all() and np.abs(speeds).max() < 10.0


def test_the_way_out_to_a_straight_elbow_ends_in_words() -> None:
    """The far corner of the table is inside the box and beyond comfortable reach."""
    end, reason = walk(HOME, [1.0, 0.3, 0.4], 60)
    assert "singularity" in reason and "back towards the robot" in reason
    assert MARGINS.dexterity * 0.7 < dexterity(end) < MARGINS.dexterity * 1.6
    back, reason = walk(end, [-1.0, -0.3, -0.4], 20)
    assert reason == "" and dexterity(back) > dexterity(end)


def test_a_joint_near_its_end_is_named_and_may_come_back() -> None:
    q = HOME.copy()
    q[0] = HIGH[0] - 0.15  # the base is turned: about its axis the tool goes along x and y
    tangent = np.cross([0.0, 0.0, 1.0], tool_pose(q).position)
    tangent /= np.linalg.norm(tangent)
    end, reason = walk(q, tangent.tolist(), 40)
    assert "joint" in reason and "limit" in reason
    assert (MARGINS.trespass(end) < 0.04).all()
    assert walk(end, (-tangent).tolist(), 10)[1] == ""


@given(joints, joints)
@settings(deadline=None, max_examples=60)
def test_staying_where_one_is_is_always_allowed(q: tuple[float, ...], other: tuple[float, ...]):
    """A person may push the arm anywhere; holding there must not become a fault."""
    here = tool_pose(q)
    check_margins(np.array(q), here, tool_pose(other), here, MARGINS)


def test_margins_without_room_are_refused() -> None:
    with pytest.raises(ValueError, match="leave no room"):
        Margins(LOW, LOW)
    with pytest.raises(ValueError, match="0.1"):
        Margins(LOW, HIGH, joint_rad=0.1, dexterity=float("nan"))
