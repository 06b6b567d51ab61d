"""LIBERO files: upright pictures, words from the file, the gripper convention of the suite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.libero import find_libero, read_libero, task_words
from molmoact_ros.data.pictures import rgb_of
from molmoact_ros.data.rows import BadData

h5py = pytest.importorskip("h5py")


def write_file(path: Path, demos: int = 2, ticks: int = 12) -> None:
    rng = np.random.default_rng(0)
    view = np.zeros((ticks, 64, 64, 3), np.uint8)
    view[:, :32, :32] = 200  # upper left as stored: lower right when upright
    with h5py.File(path, "w") as file:
        group = file.create_group("data")
        group.attrs["problem_info"] = json.dumps({"language_instruction": "close the drawer"})
        for n in range(demos):
            demo = group.create_group(f"demo_{n}")
            actions = rng.uniform(-0.5, 0.5, (ticks, 7))
            actions[:, 6] = np.where(np.arange(ticks) < 6, -1.0, 1.0)
            demo["actions"] = actions
            for name in ("agentview_rgb", "eye_in_hand_rgb"):
                demo[f"obs/{name}"] = view
            demo["obs/ee_pos"], demo["obs/ee_ori"] = rng.random((ticks, 3)), rng.random((ticks, 3))


def test_pictures_are_turned_upright_and_words_are_read(tmp_path: Path) -> None:
    write_file(tmp_path / "close_the_drawer_demo.hdf5")
    first = next(iter(read_libero(find_libero(tmp_path)[0])))
    rgb = rgb_of(first.pictures[0][0])
    assert rgb[-10:, -10:].mean() > 150 > rgb[:10, :10].mean()
    assert first.instruction == "close the drawer" and len(first) == 12


def test_words_come_from_the_name_when_the_file_has_none() -> None:
    assert task_words("", "KITCHEN_SCENE3_turn_on_the_stove_demo") == "turn on the stove"
    assert task_words('{"language_instruction": ["pick", "it", "up"]}', "x") == "pick it up"


def test_a_suite_becomes_a_data_set_with_open_as_one(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    write_file(tmp_path / "suite/close_the_drawer_demo.hdf5")
    out = tmp_path / "data"
    assert main(["convert", "import-libero", str(tmp_path / "suite"), "--out", str(out)]) == 0
    data = DataSet(out, "")
    training = data.statistics.normalise(data.episodes[0].actions)[:, 6]
    assert training[0] == 1.0 and training[-1] == 0.0
    assert data.card.fps == 20.0


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no .hdf5"):
        find_libero(tmp_path)
