"""What was checked once is not checked again before training; data of other kinds are judged."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data import gate_record
from molmoact_ros.data.dataset import EPISODES, DataSet
from molmoact_ros.data.finding import FAIL, SKIP
from molmoact_ros.data.gate import run_gate
from molmoact_ros.data.gate_record import GATE_FILE, gate_before_training
from molmoact_ros.data.rows import LABELS, EpisodeRows, read_rows, write_rows
from molmoact_ros.data.scatter import Scatterer, Share
from molmoact_ros.data.scatter_command import scatter_card

sys.path.insert(0, str(Path(__file__).parent))
from motion_helpers import make_motion


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_motion(tmp_path / "data", episodes=3)


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("checked again")


def test_what_check_passed_is_not_checked_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", str(folder), "--no-simulation"]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(gate_record, "run_gate", _refuse)
        assert gate_before_training(folder) == []
        (folder / EPISODES).write_text((folder / EPISODES).read_text() + " ")
        with pytest.raises(AssertionError, match="checked again"):
            gate_before_training(folder)
    assert gate_before_training(folder) == []


def test_what_fails_is_said_before_training(folder: Path) -> None:
    for path in (folder / LABELS).glob("*.parquet"):
        rows = read_rows(path)
        write_rows(path, replace(rows, traces=[None] * len(rows)))
    (problem,) = gate_before_training(folder)
    assert problem.startswith("traces: 0.0 % of ticks")
    assert gate_before_training(folder) == [problem]
    (folder / GATE_FILE).write_text("damaged")
    assert gate_before_training(folder) == [problem]


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scatter")
    scatterer = Scatterer(scatter_card(0.0))
    for first in (1_000_000, 1_000_100, 1_000_200):
        scatterer.share(Share(out, first, frames=6))
    scatterer.close()
    assert main(["scatter", "--out", str(out), "--finish"]) == 0
    return out


def test_scattered_states_are_judged_by_what_they_hold(scattered: Path) -> None:
    findings = {f.rule: f for f in run_gate(DataSet(scattered, ""))}
    assert [f for f in findings.values() if f.level == FAIL] == []
    for rule in ("replay", "simulation", "delay", "idle"):
        assert findings[rule].level == SKIP and "scattered" in findings[rule].words
    assert "own chunks" in findings["padding"].words
    assert findings["split"].words.startswith("3 files of rows, ")


def test_scattered_states_can_still_fail(scattered: Path) -> None:
    data = DataSet(scattered, "")
    for rows in data.episodes:
        rows.actions[:, 6] = 1.0
    assert {f.rule for f in run_gate(data) if f.level == FAIL} == {"gripper"}


def test_episodes_of_one_row_do_not_stop_the_gate(folder: Path) -> None:
    data = DataSet(folder, "")
    rows = next(rows for rows in data.episodes if rows.info["split"] == "train")
    path = folder / LABELS / f"{rows.info['key']}.parquet"
    write_rows(path, _first_row(path))
    findings = {f.rule: f for f in run_gate(DataSet(folder, ""), simulate=False)}
    assert findings["statistics"].level == FAIL
    assert np.isin([f.level for f in findings.values()], ["ok", "warn", "skip", "fail"]).all()


def _first_row(path: Path) -> EpisodeRows:
    rows = read_rows(path)
    assert rows.bins is not None
    return replace(
        rows,
        timestamps=rows.timestamps[:1],
        offsets={name: table[:1] for name, table in rows.offsets.items()},
        actions=rows.actions[:1],
        states=rows.states[:1],
        depth=rows.depth[:1],
        traces=rows.traces[-1:],
        use=rows.use[:1],
        bins=rows.bins[:1],
    )
