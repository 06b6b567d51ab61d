"""Labelled motion driven again: added up, on the simulated arm, and against its pictures."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.data import gate_motion
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.delay import delay_ticks, lag_between
from molmoact_ros.data.finding import FAIL, OK, SKIP, WARN
from molmoact_ros.data.gate import run_gate
from molmoact_ros.data.replay import arm_lag, replayed
from molmoact_ros.evals.sim_replay import robot_rows
from molmoact_ros.geometry import Pose
from molmoact_ros.reasoning.actions import encode

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import CARD
from motion_helpers import ACTIONS_ONLY, LAG_S, make_motion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_motion(tmp_path_factory.mktemp("motion"))


@pytest.fixture(scope="module")
def in_tool_frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same motion, every step said in the frame of the (turned) tool."""
    card = replace(ACTIONS_ONLY, delta_frame="tool")
    return make_motion(tmp_path_factory.mktemp("tool"), card)


@pytest.fixture
def data(folder: Path) -> DataSet:
    return DataSet(folder, "")


def test_a_sound_recording_passes_every_check(data: DataSet) -> None:
    """An arm 90 ms late, with a turned tool, also on the simulated arm."""
    findings = {finding.rule: finding for finding in run_gate(data)}
    assert [f for f in findings.values() if f.level == FAIL] == []
    for rule in ("delay", "replay", "simulation"):
        assert findings[rule].level == OK, findings[rule]
    assert arm_lag(data.episodes, data.card) == pytest.approx(LAG_S, abs=0.03)


def test_steps_of_the_tool_frame_are_followed_in_that_frame(in_tool_frame: Path) -> None:
    data = DataSet(in_tool_frame, "")
    assert gate_motion.check_replay(data).level == OK
    found = gate_motion.check_simulation(data)
    assert found.level == SKIP and "base frame" in found.words


def test_steps_of_the_tool_frame_read_in_the_base_frame_lead_elsewhere(in_tool_frame: Path) -> None:
    data = DataSet(in_tool_frame, "")
    data.card = replace(data.card, delta_frame="base")
    for found in (gate_motion.check_replay(data), gate_motion.check_simulation(data)):
        assert found.level == FAIL and "delta_frame" in found.words, found


def test_a_drift_of_two_centimetres_is_found(data: DataSet) -> None:
    """0.4 mm a tick would vanish in a mean, or where every chunk begins anew."""
    for rows in data.episodes:
        rows.actions[:, 0] += np.float32(0.02 / len(rows))
    found = gate_motion.check_replay(data)
    assert found.level == FAIL and "leave the measured path" in found.words


def test_one_arm_that_was_pushed_is_a_warning(data: DataSet) -> None:
    """One episode of many says something about itself, not about the convention of all."""
    pushed = data.episodes[0]
    many = [replace(rows) for rows in data.episodes for _ in range(10)]
    actions = pushed.actions.copy()
    actions[:, 0] += np.float32(0.02 / len(pushed))
    bins = encode(data.statistics.normalise(actions))
    data.episodes = [replace(pushed, actions=actions, bins=bins), *many]
    found = gate_motion.check_replay(data)
    assert found.level == WARN and "1 of" in found.words, found
    assert pushed.info["episode_id"] in found.words and "failure" in found.words


def test_steps_in_other_units_are_found(data: DataSet) -> None:
    for rows in data.episodes:
        rows.actions[:, 3:6] *= np.float32(np.degrees(1.0) / 10)
    assert gate_motion.check_replay(data).level == FAIL


def test_bins_of_other_statistics_lose_motion(data: DataSet) -> None:
    narrow = replace(data.statistics, q01=0.4 * data.statistics.q01, q99=0.4 * data.statistics.q99)
    data.statistics = narrow
    data.episodes = [replace(r, bins=encode(narrow.normalise(r.actions))) for r in data.episodes]
    found = gate_motion.check_replay(data)
    assert found.level == FAIL and "bins lose motion" in found.words


def test_bins_that_drift_by_two_centimetres_are_found(data: DataSet) -> None:
    """Nine bins of 0.05 mm too many, a tick."""
    for rows in data.episodes:
        assert rows.bins is not None
        rows.bins[:, 0] = np.minimum(rows.bins[:, 0].astype(int) + 9, 255)
    found = gate_motion.check_replay(data)
    assert found.level == FAIL and "bins lose motion" in found.words


def test_one_episode_that_is_clipped_is_a_warning(data: DataSet) -> None:
    bins = data.episodes[0].bins
    assert bins is not None
    bins[:, 1] = np.minimum(bins[:, 1], 150)
    found = gate_motion.check_replay(data)
    assert found.level == WARN and data.episodes[0].info["episode_id"] in found.words


@pytest.mark.parametrize(
    ("states", "why"),
    [
        (np.zeros((60, 0), np.float32), "no recorded"),
        (np.zeros((60, 7), np.float32), "no recorded"),
    ],
)
def test_data_without_states_are_not_judged_by_replay(
    data: DataSet, states: np.ndarray, why: str
) -> None:
    data.episodes = [replace(r, states=states[: len(r)]) for r in data.episodes]
    for check in (gate_motion.check_replay, gate_motion.check_simulation):
        found = check(data)
        assert found.level == SKIP and why in found.words


def test_units_of_a_controller_are_not_judged_by_replay(data: DataSet) -> None:
    """LIBERO says 0.9 for the fastest motion."""
    for rows in data.episodes:
        rows.actions[:, :6] *= 90.0
    found = gate_motion.check_replay(data)
    assert found.level == SKIP and "units of a controller" in found.words


def test_poses_that_no_fr3_reaches_are_not_simulated(data: DataSet) -> None:
    for rows in data.episodes:
        rows.states[:, 0] += 0.6
    found = gate_motion.check_simulation(data)
    assert found.level == SKIP and "cannot reach" in found.words


def test_without_the_simulator_its_check_is_skipped(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "molmoact_ros.evals.sim_replay", None)
    found = gate_motion.check_simulation(data)
    assert found.level == SKIP and "not installed" in found.words


def test_commands_of_another_rate_reach_the_robot_in_its_own_rows() -> None:
    """Ten a second, half a second of rest in the middle: 1.5 s are 22 whole rows of 1/15 s."""
    turn = np.array([0.0, 0.0, 0.0, 1.0])
    poses = [Pose(np.array([0.01 * i, 0.0, 0.0]), turn) for i in range(11)]
    ticks = np.array([0.1 * i for i in range(5)] + [0.5 + 0.1 * i for i in range(5, 10)])
    times, rows = robot_rows(ticks, poses, np.linspace(1.0, 0.0, 10), replace(CARD, fps=10.0))
    assert len(times) == len(rows) + 1 == 23
    where = np.concatenate([[0.0], np.cumsum(rows[:, 0])])
    wanted = 0.1 * np.interp(times, [0.0, 0.5, 1.0, 1.5], [0.0, 0.5, 0.5, 1.0])
    assert np.allclose(where, wanted)
    assert rows[0, 6] == 1.0 and rows[-1, 6] == 0.0


def test_replay_in_the_tool_frame_turns_with_the_tool() -> None:
    quarter = Pose(np.zeros(3), np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)]))
    forward = np.array([[0.1, 0, 0, 0, 0, 0, 1.0]])
    assert np.allclose(replayed(quarter, forward, "tool")[0].position, [0.0, 0.1, 0.0])
    assert np.allclose(replayed(quarter, forward, "base")[0].position, [0.1, 0.0, 0.0])


def test_pictures_that_show_the_past_are_found(tmp_path: Path) -> None:
    data = DataSet(make_motion(tmp_path, late=0.27), "")
    found = gate_motion.check_delay(data)
    assert found.level == FAIL and "stamps and clocks" in found.words


def test_late_pictures_are_told_from_early_ones(data: DataSet) -> None:
    assert delay_ticks(data, 0) == 0.0
    rng = np.random.default_rng(0)
    motion = np.abs(np.cumsum(rng.normal(size=80)))
    for late in (-4, 0, 3):
        assert lag_between(motion, np.roll(motion, late)) == late
    assert lag_between(motion, np.ones(80)) is None


def test_no_delay_is_stated_where_pictures_and_motion_have_nothing_in_common() -> None:
    rng = np.random.default_rng(1)
    found = [lag_between(rng.normal(size=40), rng.normal(size=40)) for _ in range(100)]
    assert sum(lag is not None for lag in found) <= 5
