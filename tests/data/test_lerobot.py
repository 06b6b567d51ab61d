"""Our sets as LeRobot sets and back: what is declared is there, labels survive."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data import convert_command
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.label import startable
from molmoact_ros.data.lerobot import clean_of
from molmoact_ros.data.lerobot_export import export_lerobot
from molmoact_ros.data.lerobot_stats import described, together
from molmoact_ros.data.rows import BadData, EpisodeRows, write_rows

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import CARD, make_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes; one has a disturbed tick and one whose trace is unknown."""
    made = make_data(tmp_path_factory.mktemp("data"), 3, 30)
    data = DataSet(made, "")
    rows, entry = data.episodes[0], data.listed[0]
    clean = np.arange(len(rows)) != 11
    traces = [None if i == 3 else trace for i, trace in enumerate(rows.traces)]
    rows = replace(rows, use=startable(clean, CARD.chunk), traces=traces)
    write_rows(made / f"labels/{entry['key']}.parquet", rows, entry["index"], entry["first"])
    return made


@pytest.fixture(scope="module")
def exported(folder: Path) -> Path:
    out = folder / "v3"
    assert main(["convert", "export-lerobot", str(folder), "--out", str(out)]) == 0
    return out


def by_id(data: DataSet) -> dict[str, EpisodeRows]:
    return {rows.info["episode_id"]: rows for rows in data.episodes}


def test_our_own_set_comes_back_with_its_card_labels_and_pictures(
    folder: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again"
    assert main(["convert", "import-lerobot", str(exported), "--out", str(out)]) == 0
    assert "assumed" not in capsys.readouterr().err
    before, after = DataSet(folder, ""), DataSet(out, "")
    assert after.card == before.card and after.card.trace_source == "tf"
    assert by_id(after).keys() == by_id(before).keys()
    for name, rows in by_id(before).items():
        again = by_id(after)[name]
        np.testing.assert_array_equal(again.depth, rows.depth)
        np.testing.assert_array_equal(again.use, rows.use)
        np.testing.assert_allclose(again.actions, rows.actions)
        np.testing.assert_allclose(again.states, rows.states)
        for mine, theirs in zip(again.traces, rows.traces, strict=True):
            assert (mine is None) == (theirs is None)
            assert mine is None or np.array_equal(mine, theirs)
        for field in ("instruction", "split", "trace_source", "depth_source"):
            assert again.info[field] == rows.info[field]
    first, last = before.episodes[0], len(before.episodes[0]) - 1
    place = [r.info["episode_id"] for r in after.episodes].index(first.info["episode_id"])
    error = before.picture(0, last, "wrist").astype(int) - after.picture(place, last, "wrist")
    assert np.abs(error).mean() < 12


class Seer:
    """Stands for the estimator: a slope, whatever it sees."""

    def __init__(self, folder: Path, device: str) -> None:
        assert (folder, device) == (Path("weights"), "cpu")

    def estimate(self, rgb: np.ndarray) -> np.ndarray:
        return np.tile(np.arange(rgb.shape[1], dtype=np.float32), (rgb.shape[0], 1))


def test_labels_that_are_asked_for_anew_replace_those_that_came_along(
    folder: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert_command, "DepthAnything", Seer)
    command = ["convert", "import-lerobot", str(exported), "--out", str(tmp_path)]
    assert main([*command, "--depth-estimator", "weights", "--device", "cpu"]) == 0
    before, after = DataSet(folder, ""), DataSet(tmp_path, "")
    assert (after.card.depth_source, after.card.trace_source) == ("estimate", "tf")
    assert len(after.card.depth_codebook) == 16
    for name, rows in by_id(after).items():
        assert (rows.depth == rows.depth[0]).all()
        assert not np.array_equal(rows.depth, by_id(before)[name].depth)
        assert rows.traces[0] is not None


def test_every_declared_feature_is_a_column_of_that_shape_and_has_statistics(
    exported: Path,
) -> None:
    """LeRobot reads columns by the declared shapes and fails at the first row that differs."""
    info = json.loads((exported / "meta/info.json").read_text())
    stats = json.loads((exported / "meta/stats.json").read_text())
    table = pq.read_table(exported / "data/chunk-000/file-000.parquet")
    episodes = pq.read_table(exported / "meta/episodes/chunk-000/file-000.parquet")
    films = {name for name, f in info["features"].items() if f["dtype"] == "video"}
    assert set(info["features"]) == set(table.column_names) | films == set(stats)
    for name in table.column_names:
        declared, kind = info["features"][name], table.schema.field(name).type
        size = declared["shape"][0]
        assert size == 1 or kind.list_size == size
        value = kind if size == 1 else kind.value_type
        assert value == pa.type_for_alias(declared["dtype"])
        assert len(stats[name]["mean"]) == size and stats[name]["count"] == [table.num_rows]
        assert f"stats/{name}/std" in episodes.column_names
    assert len(films) == 2
    for name in films:
        assert all(np.shape(stats[name][key]) == (3, 1, 1) for key in ("min", "mean", "q99"))
        assert 0.0 <= np.min(stats[name]["min"]) < np.max(stats[name]["max"]) <= 1.0
    trace = np.array(table["molmo.trace"].to_pylist()).reshape(-1, 5, 2)
    points = table["molmo.trace_points"].to_numpy()
    assert set(points) == {0, 1, 2, 3, 4, 5}
    assert (trace[points == 2][:, 1:] == trace[points == 2][:, 1:2]).all()


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    whole, joined = described(values), together([described(values[:20]), described(values[20:])])
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(joined[name], whole[name], err_msg=name)


def test_what_lerobot_cannot_hold_is_refused(folder: Path, tmp_path: Path) -> None:
    data = DataSet(folder, "")
    scattered = np.zeros((len(data.episodes[0]), 8, 7), np.float32)
    data.episodes[0] = replace(data.episodes[0], chunks=scattered)
    with pytest.raises(BadData, match="scattered"):
        export_lerobot(data, tmp_path / "a")
    data = DataSet(folder, "")
    data.episodes[1] = replace(data.episodes[1], states=np.zeros((len(data.episodes[1]), 0)))
    with pytest.raises(BadData, match="one card"):
        export_lerobot(data, tmp_path / "b")


@pytest.mark.parametrize("dirty", [[], [0], [3], [19], [7, 8, 14], [0, 1, 12]])
def test_disturbed_ticks_are_found_from_where_chunks_may_start(dirty: list[int]) -> None:
    clean = np.ones(20, dtype=bool)
    clean[dirty] = False
    use = startable(clean, 8)
    np.testing.assert_array_equal(startable(clean_of(use, 8), 8), use)
