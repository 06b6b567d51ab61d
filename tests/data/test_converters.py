"""The public fine-tuning folder: what it says is what was taught. Answers of a pointing model."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.dataset import DataSet, finish
from molmoact_ros.data.estimator import input_size
from molmoact_ros.data.official_export import export_official
from molmoact_ros.data.pointing import point_in_answer
from molmoact_ros.data.rows import BadData
from molmoact_ros.reasoning.depth_text import depth_from_text
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.reasoning.trace_text import trace_from_text

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import CARD, make_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"), 3, 20)


def official_rows(folder: Path) -> list[dict[str, object]]:
    with pa.memory_map(str(folder / "data-00000-of-00001.arrow")) as source:
        return list(pa.ipc.open_stream(source).read_all().to_pylist())


def test_the_official_folder_holds_text_that_the_models_parser_reads(
    folder: Path, tmp_path: Path
) -> None:
    assert main(["convert", "export-official", str(folder), "--out", str(tmp_path / "o")]) == 0
    row = official_rows(tmp_path / "o")[0]
    assert set(row) >= {"image", "wrist_image", "depth", "trace", "processed_action"}
    assert depth_from_text(str(row["depth"])).shape == (10, 10)
    assert len(trace_from_text(str(row["trace"]))) <= 5
    assert set(json.loads(str(row["processed_action"]))) == {
        "normalized_action", "tokenized_action", "chunked_action",
    }  # fmt: skip


def test_the_official_statistics_are_those_that_the_text_was_scaled_with(tmp_path: Path) -> None:
    """Bins of a released checkpoint are kept; the rows' own quantiles would mean other motions."""
    made = make_data(tmp_path / "d", 3, 20)
    own = read_statistics(made / "dataset_statistics.json", "test_arm")
    finish(made, CARD, statistics=replace(own, q01=own.q01 - 0.01, q99=own.q99 + 0.02))
    assert main(["convert", "export-official", str(made), "--out", str(tmp_path / "o")]) == 0
    told = read_statistics(tmp_path / "o/dataset_statistics.json", "test_arm")
    np.testing.assert_allclose(told.q99[:6], own.q99[:6] + 0.02)
    assert told.card["gripper_raw"] == "0open_1closed"
    assert (told.min[6], told.max[6]) == (0.0, 1.0)
    data = DataSet(made, "train")
    action = json.loads(str(official_rows(tmp_path / "o")[0]["processed_action"]))
    raw = data.episodes[0].actions[0].copy()
    raw[6] = 1.0 - raw[6]
    np.testing.assert_allclose(action["normalized_action"], told.normalise(raw), atol=1e-6)


def test_held_out_episodes_stay_out_of_the_official_folder_unless_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["convert", "export-official", str(folder), "--out"]
    assert main([*command, str(tmp_path / "o")]) == 0
    assert "1 held-out episode left out (--with-held-out" in capsys.readouterr().err
    train, whole = DataSet(folder, "train"), DataSet(folder, "")
    assert 0 < len(train) < len(whole)
    assert len(official_rows(tmp_path / "o")) == len(train)
    assert main([*command, str(tmp_path / "all"), "--with-held-out"]) == 0
    assert len(official_rows(tmp_path / "all")) == len(whole)


def test_a_set_without_reasoning_labels_has_no_official_folder(tmp_path: Path) -> None:
    card = replace(CARD, depth_source="none")
    made = make_data(tmp_path / "d", 2, 12, card)
    with pytest.raises(BadData, match="depth and trace"):
        export_official(DataSet(made, ""), tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_an_official_folder_takes_two_cameras_at_most(folder: Path, tmp_path: Path) -> None:
    data = DataSet(folder, "")
    data.card = replace(data.card, cameras=("external", "wrist", "side"))
    with pytest.raises(BadData, match="reads two"):
        export_official(data, tmp_path / "o")


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ('<point x="12.5" y="50.0" alt="gripper">gripper</point>', (0.125, 0.5)),
        ('<points x1="10" y1="20" x2="30" y2="40">x</points>', (0.1, 0.2)),
        ('<points coords="1 1 0500 0250">x</points>', (0.5, 0.25)),
        ("There is no gripper.", None),
        ('<point x="120" y="50">x</point>', None),
    ],
)
def test_pointing_answers(text: str, point: tuple[float, float] | None) -> None:
    assert point_in_answer(text) == point


def test_the_depth_estimator_keeps_the_aspect_in_steps_of_its_patch() -> None:
    assert input_size(480, 640) == (518, 686)
    assert all(side % 14 == 0 for side in input_size(240, 320))
