"""The direction test: a mirrored axis is noticed before a policy uses it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.control.direction import DIRECTION_GOAL, STEPS, DirectionTest, missing_record
from molmoact_ros.control.guards import check_chunk
from molmoact_ros.control.limits import Limits
from molmoact_ros.geometry import Pose

HERE = Pose(np.array([0.5, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_every_step_passes_the_guards_and_comes_back(step) -> None:
    """A test that the commander shortens would measure the guard and not the arm."""
    rows, felt = check_chunk(step.rows(1.0), Limits(), 1 / 15)
    assert felt == ""
    pose = HERE
    for row in [*rows, *step.rows(1.0, -1.0)]:
        pose = pose.moved(row[:6])
    assert np.linalg.norm(pose.position - HERE.position) < 1e-9 and HERE.angle_to(pose) < 1e-6


@pytest.mark.parametrize("step", [s for s in STEPS if s.gripper is None], ids=lambda s: s.name)
def test_a_mirrored_weak_or_sideways_motion_disagrees(step) -> None:
    delta = np.array(step.delta)
    assert step.disagreement(HERE, HERE.moved(delta)) == ""
    for wrong in (-delta, 0.3 * delta, np.zeros(6), np.roll(delta[:3], 1).tolist() + [0.2, 0, 0.1]):
        assert step.name in step.disagreement(HERE, HERE.moved(np.array(wrong)))


def test_the_questions_are_about_what_happens() -> None:
    """The words must fit the convention: extrinsic axes of the base, tool pointing down."""
    after = {s.name: HERE.moved(np.array(s.delta)) for s in STEPS}
    assert after["roll"].matrix[1, 2] < -0.1, "the fingers point to -y, the robot's right"
    assert after["pitch"].matrix[0, 2] < -0.1, "the fingers point back to the base"
    assert after["yaw"].matrix[1, 0] > 0.1, "the tool's x turns from x to y: against the clock"


def test_all_steps_have_to_be_confirmed_and_one_no_is_final() -> None:
    test = DirectionTest()
    for step in STEPS[:-1]:
        assert test.step is step and test.confirm(True) == ""
    assert test.confirm(True) == "passed" and test.passed and test.step is None
    failed = DirectionTest()
    failed.confirm(True)
    assert "do not run a policy" in failed.confirm(False)
    assert failed.confirm(True) == failed.failure and not failed.passed and failed.step is None


def test_the_arm_s_own_word_beats_a_hasty_yes() -> None:
    test = DirectionTest()
    assert "reports" in test.confirm(True, "x: the arm reports [0, 0.03, 0] m")
    assert not test.passed


def test_the_policy_is_locked_until_a_record_says_passed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert "molmoact direction-test" in missing_record(path)
    path.write_text("{")
    assert "cannot be read" in missing_record(path)
    test = DirectionTest()
    path.write_text(json.dumps(test.record("2026-01-01", "fr3_link0")))
    assert "not passed" in missing_record(path)
    for _ in STEPS:
        test.confirm(True)
    record = test.record("2026-01-01", "fr3_link0")
    path.write_text(json.dumps(record))
    assert missing_record(path) == "" and record["test"] == DIRECTION_GOAL
    path.write_text("[1]")
    assert missing_record(path) != ""
