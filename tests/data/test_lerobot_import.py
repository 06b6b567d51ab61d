"""LeRobot sets of others: nothing is skipped or guessed without a word."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.lerobot import MOLMOACT_HOUSEHOLD, Keys, read_lerobot
from molmoact_ros.data.pictures import rgb_of
from molmoact_ros.data.rows import BadData

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import CARD, make_data
from lerobot_helpers import write_film, write_v2

SAY = ["--set", "gripper_raw=0open_1closed", "--set", "delta_frame=base"]


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


def test_an_import_can_keep_the_bins_of_another_set(tmp_path: Path) -> None:
    folder = make_data(tmp_path / "other", 2, 12)
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
