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
from molmoact_ros.geometry import quaternion_from_rpy, rotation_matrix

h5py = pytest.importorskip("h5py")
TURN = 3.0
"""A hand that looks down is turned by nearly half a turn about x."""


def write_file(path: Path, demos: int = 2, ticks: int = 12, states: bool = True) -> None:
    path.parent.mkdir(exist_ok=True)
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
            if states:
                demo["obs/ee_pos"] = rng.random((ticks, 3))
                demo["obs/ee_ori"] = np.tile([TURN, 0.0, 0.0], (ticks, 1))
                demo["obs/gripper_states"] = np.tile([0.04, -0.04], (ticks, 1))


def test_pictures_are_turned_upright_and_words_are_read(tmp_path: Path) -> None:
    write_file(tmp_path / "close_the_drawer_demo.hdf5")
    first = next(iter(read_libero(find_libero(tmp_path)[0])))
    rgb = rgb_of(first.pictures[0][0])
    assert rgb[-10:, -10:].mean() > 150 > rgb[:10, :10].mean()
    assert first.instruction == "close the drawer" and len(first) == 12


def test_words_come_from_the_name_when_the_file_has_none() -> None:
    assert task_words("", "KITCHEN_SCENE3_turn_on_the_stove_demo") == "turn on the stove"
    assert task_words('{"language_instruction": ["pick", "it", "up"]}', "x") == "pick it up"


def test_states_are_poses_and_a_width_although_turns_are_stored_as_vectors(tmp_path: Path) -> None:
    write_file(tmp_path / "a_demo.hdf5")
    with h5py.File(tmp_path / "a_demo.hdf5", "r+") as file:
        file["data/demo_0/obs/ee_ori"][0] = [0.0, np.pi, 0.0]
        file["data/demo_0/obs/ee_ori"][1] = np.array([1.0, 1.0, 1.0]) * 2 * np.pi / 3 / np.sqrt(3)
        positions = file["data/demo_0/obs/ee_pos"][:]
    states = next(iter(read_libero(tmp_path / "a_demo.hdf5"))).states
    np.testing.assert_allclose(states[:, :3], positions, atol=1e-6)
    np.testing.assert_allclose(states[2:, 3:], [[TURN, 0.0, 0.0, 0.08]] * 10, atol=1e-6)
    for state, axes in (
        (states[0], [[-1, 0, 0], [0, 1, 0], [0, 0, -1]]),
        (states[1], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    ):
        turn = rotation_matrix(quaternion_from_rpy(*map(float, state[3:6])))
        np.testing.assert_allclose(turn, axes, atol=1e-6)


def test_files_without_poses_bring_no_state(tmp_path: Path) -> None:
    write_file(tmp_path / "suite/a_demo.hdf5", states=False)
    out = tmp_path / "data"
    assert main(["convert", "import-libero", str(tmp_path / "suite"), "--out", str(out)]) == 0
    data = DataSet(out, "")
    assert data.episodes[0].states.shape == (12, 0) and data.statistics.proprio is None


def test_a_suite_becomes_a_data_set_with_open_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(tmp_path / "suite/close_the_drawer_demo.hdf5")
    out = tmp_path / "data"
    assert main(["convert", "import-libero", str(tmp_path / "suite"), "--out", str(out)]) == 0
    data = DataSet(out, "")
    assert "actions stay in units of the controller" in capsys.readouterr().err
    training = data.statistics.normalise(data.episodes[0].actions)[:, 6]
    assert training[0] == 1.0 and training[-1] == 0.0
    assert (data.card.fps, data.card.delta_frame, data.card.trace_source) == (20.0, "base", "none")
    assert data.episodes[0].info["action_units"].startswith("controller")
    assert data.statistics.proprio is not None
    assert data.statistics.proprio["q99"][3] == pytest.approx(TURN)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no .hdf5"):
        find_libero(tmp_path)
