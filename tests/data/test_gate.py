"""The gate finds what would waste a night of training. One broken data set a rule."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.data import gate
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.replay import replayed
from molmoact_ros.data.report import write_report
from molmoact_ros.geometry import Pose

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import make_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"), 4, 40)


@pytest.fixture
def data(folder: Path) -> DataSet:
    return DataSet(folder, "")


def test_a_sound_data_set_fails_nothing(data: DataSet) -> None:
    findings = {finding.rule: finding for finding in gate.run_gate(data)}
    failed = [f for f in findings.values() if f.level == gate.FAIL and f.rule != "delay"]
    assert failed == []
    assert findings["replay"].level == gate.OK


def test_saturated_bins_are_found(data: DataSet) -> None:
    rows = data.episodes[0]
    assert rows.bins is not None
    rows.bins[:, 0] = 255
    data.episodes = [rows]
    assert "dimension 0" in gate.check_bins(data).words
    assert gate.check_bins(data).level == gate.FAIL


def test_a_dimension_with_few_bins_is_found(data: DataSet) -> None:
    for rows in data.episodes:
        assert rows.bins is not None
        rows.bins[:, 1] = np.where(rows.bins[:, 1] > 128, 140, 100)
    assert "uses 2 bins only" in gate.check_bins(data).words


def test_motion_in_one_direction_only_is_noticed(data: DataSet) -> None:
    """Without zero between the quantiles no symbol means: stand still."""
    q01 = data.statistics.q01.copy()
    q01[0] = 0.5 * data.statistics.q99[0]
    data.statistics = replace(data.statistics, q01=q01)
    found = gate.check_bins(data)
    assert found.level == gate.WARN and "[0]" in found.words


def test_a_gripper_of_another_convention_is_found(data: DataSet) -> None:
    for rows in data.episodes:
        rows.actions[:, 6] = 2 * rows.actions[:, 6] - 1
    assert gate.check_gripper(data).level == gate.FAIL


def test_an_inverted_gripper_is_noticed(data: DataSet) -> None:
    for rows in data.episodes:
        rows.actions[:, 6] = 1 - rows.actions[:, 6]
    assert gate.check_gripper(data).level == gate.WARN


def test_missing_traces_are_found(data: DataSet) -> None:
    data.episodes = [replace(r, traces=[None] * len(r)) for r in data.episodes]
    assert gate.check_traces(data).level == gate.FAIL


def test_statistics_of_other_rows_are_found(data: DataSet) -> None:
    for rows in data.episodes:
        rows.actions[:, 2] *= 3.0
    assert gate.check_statistics(data).level == gate.FAIL


def test_a_wrong_delta_frame_does_not_replay(data: DataSet) -> None:
    """Deltas of the tool frame read as base frame lead elsewhere."""
    for rows in data.episodes:
        rows.states[:, 5] += 0.0
        assert rows.bins is not None
        rows.bins[:, :2] = rows.bins[:, 1::-1]
    found = gate.check_replay(data)
    assert found.level == gate.FAIL and "delta_frame" in found.words


def test_constant_depth_is_found(data: DataSet) -> None:
    for rows in data.episodes:
        rows.depth[:] = 5
    assert gate.check_depth(data).level == gate.FAIL


def test_replay_in_the_tool_frame_turns_with_the_tool() -> None:
    quarter = Pose(np.zeros(3), np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)]))
    forward = np.array([[0.1, 0, 0, 0, 0, 0, 1.0]])
    assert np.allclose(replayed(quarter, forward, "tool")[0].position, [0.0, 0.1, 0.0])
    assert np.allclose(replayed(quarter, forward, "base")[0].position, [0.1, 0.0, 0.0])


def test_the_report_shows_findings_pictures_and_histograms(data: DataSet, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report(page, data, [gate.Finding(gate.FAIL, "bins", "a < b")], pictures=2)
    text = page.read_text()
    assert "do not train yet" in text and "a &lt; b" in text
    assert text.count("data:image/jpeg") == 6
    assert text.count("<svg") == 7
