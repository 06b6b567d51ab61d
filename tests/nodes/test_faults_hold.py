"""Whatever breaks, the arm holds and somebody says what to do. Real processes, real franky."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from stack import Person, stack

pytestmark = pytest.mark.timeout(240)

HOLD = 0
ARM = ("sim_arm", "franka", "commander")
ALL = ("sim_arm", "sim_cameras", "franka", "commander", "policy")
STILL_M = 0.004


def rows(dx: float = 0.008) -> np.ndarray:
    chunk = np.zeros((8, 7))
    chunk[:, 0], chunk[:, 6] = dx, 1.0
    return chunk


def assert_holds(person: Person) -> None:
    """HOLD comes soon, the arm settles (its controller lags 0.1 s), and then stands still."""
    assert person.wait(lambda: person.command.source == HOLD, 3.0), person.command.reason
    person.listen(1.0)
    since = time.time()
    person.listen(1.5)
    assert person.command.source == HOLD and person.moved(since) < STILL_M


def test_damaged_chunks_are_refused_in_words_and_a_good_one_moves(tmp_path: Path) -> None:
    """A NaN or a short row from a broken policy must never become a motion."""
    with stack(tmp_path, ARM) as robot:
        person = robot.person
        assert person.wait(lambda: "next thought" in person.command.reason), person.command.reason
        start = time.time()
        damaged = rows()
        damaged[3, 1] = np.nan
        for number, (chunk, word) in enumerate(
            ((damaged, "not finite"), (rows()[:, :5], "shape"), (rows(0.2), "at once"))
        ):
            assert person.send_until(chunk, number, lambda w=word: person.told(w)), person.reasons
        assert person.command.source == HOLD
        assert person.moved(start) < STILL_M
        start = time.time()
        person.send(rows(), chunk_id=4)
        person.listen(1.5)
        assert 0.03 < person.moved(start) < 0.10
        assert person.command.source == HOLD and "next thought" in person.command.reason


def test_a_frozen_camera_holds_names_the_camera_and_goes_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    with stack(tmp_path, ALL) as robot:
        person = robot.person
        assert person.instruct("put the red cube on the plate").accepted
        assert person.wait(lambda: len(person.thoughts) >= 3, 60.0), robot.log()
        robot.signal("sim_cameras", signal.SIGSTOP)
        assert person.wait(lambda: "camera's newest" in person.policy.detail, 20.0), robot.log()
        assert "check" in person.policy.detail
        assert_holds(person)
        robot.signal("sim_cameras", signal.SIGCONT)
        before = len(person.thoughts)
        assert person.wait(lambda: len(person.thoughts) > before + 1, 30.0), robot.log()


def test_a_killed_policy_leaves_a_holding_arm(tmp_path: Path) -> None:
    with stack(tmp_path, ALL) as robot:
        person = robot.person
        assert person.instruct("put the red cube on the plate").accepted
        assert person.wait(lambda: len(person.thoughts) >= 3, 60.0), robot.log()
        robot.signal("policy", signal.SIGKILL)
        assert person.wait(lambda: "policy node" in person.command.reason, 10.0), (
            person.command.reason
        )
        assert_holds(person)


def test_a_killed_simulator_is_reported_and_the_arm_node_comes_back(tmp_path: Path) -> None:
    """The network cable of a real arm: the driver must say so and reconnect by itself."""
    with stack(tmp_path, ARM) as robot:
        person = robot.person
        robot.signal("sim_arm", signal.SIGKILL)
        assert person.wait(lambda: not person.arm.connected, 20.0), person.arm.detail
        assert person.arm.detail, "a lost arm must say what to do"
        assert person.wait(lambda: person.command.source == HOLD, 5.0)
        assert person.wait(lambda: "arm" in person.command.reason, 5.0), person.command.reason


def test_sigterm_ends_every_node_without_a_traceback(tmp_path: Path) -> None:
    with stack(tmp_path, ALL) as robot:
        assert robot.person.instruct("pick up the blue cube").accepted
        assert robot.person.wait(lambda: len(robot.person.thoughts) >= 2, 60.0), robot.log()
    assert "Traceback" not in robot.log(), robot.log()
