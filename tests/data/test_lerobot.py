"""LeRobot sets, both ways: nothing is skipped or guessed without a word, labels survive."""

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
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.label import startable
from molmoact_ros.data.lerobot import MOLMOACT_HOUSEHOLD, Keys, clean_of, read_lerobot
from molmoact_ros.data.lerobot_export import export_lerobot
from molmoact_ros.data.lerobot_stats import described, together
from molmoact_ros.data.pictures import rgb_of
from molmoact_ros.data.rows import BadData, EpisodeRows, write_rows

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import CARD, make_data
from lerobot_helpers import write_film, write_v2

SAY = ["--set", "gripper_raw=0open_1closed", "--set", "delta_frame=base"]


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
        size, kind = info["features"][name]["shape"][0], table.schema.field(name).type
        value = kind if size == 1 else kind.value_type
        assert size == (1 if size == 1 else kind.list_size)
        assert value == (pa.bool_() if name == "molmo.use" else pa.type_for_alias(str(value)))
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


def test_v21_with_the_columns_of_molmoact_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_v2(tmp_path / "in", ("first_view", "wrist_image"))
    found = list(read_lerobot(tmp_path / "in", CARD, MOLMOACT_HOUSEHOLD))
    assert len(found) == 2
    ticks, known = found[0]
    assert ticks.actions.shape == (6, 7) and ticks.instruction == "close the box"
    assert len(ticks.pictures) == 2 and known.depth is None
    command = ["convert", "import-lerobot", str(tmp_path / "in"), "--out", str(tmp_path / "d")]
    assert main([*command, "--molmoact-columns", "--set", "image_size=[64, 48]"]) == 0
    told = capsys.readouterr().err
    assert "assumed, as nobody says otherwise: cameras external wrist, euler" in told
    assert "MolmoAct-Dataset, as the public code reads it: gripper_raw 0open_1closed" in told
    card = DataSet(tmp_path / "d", "").card
    assert (card.gripper_raw, card.trace_source, card.depth_source) == (
        "0open_1closed", "none", "none",
    )  # fmt: skip


def test_an_import_can_keep_the_bins_of_another_set(folder: Path, tmp_path: Path) -> None:
    write_v2(tmp_path / "in", ("first_view", "wrist_image"))
    command = ["convert", "import-lerobot", str(tmp_path / "in"), "--out", str(tmp_path / "d")]
    command += ["--molmoact-columns", "--set", "image_size=[64, 48]", "--statistics"]
    command += [str(folder / "dataset_statistics.json"), "--set", "name=test_arm"]
    assert main(command) == 0
    kept, own = DataSet(tmp_path / "d", "").statistics, DataSet(folder, "").statistics
    np.testing.assert_array_equal(kept.q99, own.q99)
    assert kept.num_transitions == 0 and kept.card["gripper_raw"] == "0open_1closed"


def test_films_of_v21_are_read_frame_by_frame(tmp_path: Path) -> None:
    write_v2(tmp_path, ("first_view", "wrist_image"), kind="video")
    ticks, _ = next(iter(read_lerobot(tmp_path, CARD, MOLMOACT_HOUSEHOLD)))
    greys = [rgb_of(picture).mean() for picture in ticks.pictures[1]]
    np.testing.assert_allclose(greys, 40 * np.arange(6), atol=4)


@pytest.mark.parametrize("damage", ["empty", "text", "short", "missing"])
def test_a_film_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    """The public loader reads no film and says nothing: labels of no picture at all."""
    write_v2(tmp_path, ("first_view", "wrist_image"), kind="video")
    film = tmp_path / "videos/chunk-000/wrist_image/episode_000000.mp4"
    if damage == "short":
        write_film(film, 4)
    elif damage == "missing":
        film.unlink()
    else:
        film.write_text("" if damage == "empty" else "404: not found")
    with pytest.raises(BadData, match=r"wrist_image/episode_000000\.mp4"):
        next(iter(read_lerobot(tmp_path, CARD, MOLMOACT_HOUSEHOLD)))


def test_an_episode_without_rows_is_named(tmp_path: Path) -> None:
    write_v2(tmp_path, ("first_view", "wrist_image"))
    path = tmp_path / "data/chunk-000/episode_000001.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(BadData, match=r"episode_000001\.parquet: no rows"):
        list(read_lerobot(tmp_path, CARD, MOLMOACT_HOUSEHOLD))


def test_what_a_folder_does_not_say_must_be_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_v2(tmp_path / "in", ("a", "b"))
    command = ["convert", "import-lerobot", str(tmp_path / "in"), "--out", str(tmp_path / "d")]
    command += ["--image", "external=a", "--image", "wrist=b", "--action", "actions"]
    for say, missing in (([], "gripper_raw, gripper_dims, delta_frame"), (SAY, "gripper_dims")):
        assert main([*command, *say]) == 2
        assert f"does not say {missing}; say so" in capsys.readouterr().err
    assert main([*command, *SAY, "--set", "gripper_dims=[6]", "--set", "fps=10"]) == 2
    assert "fps is 10, the set has 15" in capsys.readouterr().err
    assert main([*command, *SAY, "--set", "gripper_dims=[6]", "--set", "trace_source=tf"]) == 2
    assert "give --pointer" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("dims", "grippers", "unscaled"), [(8, [7], [7]), (14, [6, 13], [6, 13]), (8, [], [])]
)
def test_sets_of_any_number_of_dimensions(
    tmp_path: Path, dims: int, grippers: list[int], unscaled: list[int]
) -> None:
    """The public pipeline scales six and inverts the seventh, whatever the robot is."""
    write_v2(tmp_path / "in", ("a", "b"), dims)
    command = ["convert", "import-lerobot", str(tmp_path / "in"), "--out", str(tmp_path / "d")]
    command += ["--image", "external=a", "--image", "wrist=b", "--action", "actions", *SAY]
    command += ["--set", "image_size=[64, 48]"]
    assert main([*command, "--set", "gripper_dims=[6]"]) == 2
    assert main([*command, "--set", f"gripper_dims={grippers}"]) == 0
    data = DataSet(tmp_path / "d", "")
    assert np.flatnonzero(~data.statistics.scaled).tolist() == unscaled
    assert data.tick(0).bins.shape == (8, dims)
    assert data.statistics.proprio is None
    assert data.episodes[0].states.shape[1] == 0  # observation.state is called state there


def test_a_camera_that_is_not_there_is_an_error_with_the_names_that_are(tmp_path: Path) -> None:
    write_v2(tmp_path, ("image",))
    with pytest.raises(BadData, match=r"no feature 'first_view'.*actions, image, state"):
        next(iter(read_lerobot(tmp_path, CARD, MOLMOACT_HOUSEHOLD)))


def test_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v4.0"}')
    with pytest.raises(BadData, match=r"v2.0, v2.1 and v3.0"):
        next(iter(read_lerobot(tmp_path, CARD, Keys())))
