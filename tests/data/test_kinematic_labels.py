"""Labels from joint states: the arm's kinematics instead of recorded poses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pyarrow.parquet as pq
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.bag_source import read_bag
from molmoact_ros.data.card import DataCard
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.resampling import Stream
from molmoact_ros.data.ticks import make_ticks
from molmoact_ros.data.tracks import JointTrack
from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.sim.layout import scene_spec
from molmoact_ros.sim.scene import build_model, tcp_pose

sys.path.insert(0, str(Path(__file__).parent))
from bag_writing_helpers import TOPICS, write_bag
from data_helpers import CARD, recording, stamps

HOME = np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.85, 0.785])


def _card(source: str) -> DataCard:
    return replace(CARD, trace_source=source)


def swing(count: int) -> Floats:
    """Angles [count, 7] of an arm that never rests."""
    t = np.arange(count)[:, None] / 15.0
    return HOME + 0.05 * np.sin(np.arange(2.0, 9.0) * t + np.arange(7))


def simulated(joints: Floats) -> list[Pose]:
    """Tool poses of the package's MuJoCo FR3."""
    model = build_model(scene_spec(1))
    data = mujoco.MjData(model)
    found = []
    for angles in joints:
        data.qpos[:7] = angles
        mujoco.mj_kinematics(model, data)
        found.append(tcp_pose(data))
    return found


def test_kinematics_are_those_of_the_simulated_arm() -> None:
    joints = np.random.default_rng(3).uniform(-2.5, 2.5, (50, 7))
    joints[:, 3] = np.random.default_rng(4).uniform(-2.9, -0.2, 50)
    found = JointTrack(Stream(stamps(50), list(joints))).at(stamps(50))
    for ours, truth in zip(found, simulated(joints), strict=True):
        assert np.abs(ours.position - truth.position).max() < 1e-6
        assert ours.angle_to(truth) < 1e-6


def test_joints_are_interpolated_and_not_guessed_outside() -> None:
    track = JointTrack(Stream(stamps(2), [HOME, HOME + 0.2]))
    when = stamps(2)
    (between,) = track.at(np.array([(when[0] + when[1]) // 2]))
    (wanted,) = JointTrack(Stream(when, [HOME + 0.1] * 2)).at(when[:1])
    assert np.allclose(between.position, wanted.position, atol=1e-9)
    with pytest.raises(BadEpisode, match="topic stopped"):
        track.at(np.array([when[1] + 10**9]))


def test_a_bag_without_poses_is_labelled_from_its_joints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joints = swing(24)
    with_poses = write_bag(tmp_path, "poses", poses=simulated(joints))
    with_joints = write_bag(tmp_path, "joints", poses=[], joints=joints)
    found = {}
    for bag in (with_poses, with_joints):
        out = tmp_path / f"of {bag.name}"
        assert main(["label", str(bag), "--out", str(out), "--set", "image_size=[64,48]"]) == 0
        found[bag.name] = DataSet(out, "").episodes[0]
    assert capsys.readouterr().err.count("1 bags hold no poses") == 1
    wanted, rows = found["poses"], found["joints"]
    assert np.abs(rows.actions - wanted.actions).max() < 5e-5
    assert np.abs(rows.states - wanted.states).max() < 5e-5
    assert all(np.array_equal(a, b) for a, b in zip(rows.traces, wanted.traces, strict=True))
    assert (rows.info["trace_source"], rows.info["action_source"]) == ("fk", "fk")
    assert (wanted.info["trace_source"], wanted.info["action_source"]) == ("tf", "command")
    table = pq.read_table(next((tmp_path / "of joints" / "labels").glob("*.parquet")))
    assert set(table["molmo.src"].to_pylist()) == {4 * 16 + 1}
    said = json.loads(rows.info["timeline"])
    assert said[TOPICS.joints] == "header" and said[TOPICS.gripper] == "received"


def test_kinematics_can_be_preferred_to_measured_poses(tmp_path: Path) -> None:
    """Where a set-up's poses belong to another tool, its joints do not."""
    joints = swing(24)
    found = read_bag(write_bag(tmp_path, "both", joints=joints), TOPICS)
    tools = make_ticks(found, _card("fk"))
    poses = make_ticks(found, _card("tf"))
    truth = simulated(joints)[0].position
    assert np.allclose(tools.states[0, :3], truth, atol=0.02)
    assert np.abs(poses.states[0, :3] - truth).max() > 0.05
    assert np.abs(tools.uv[0] - poses.uv[0]).max() > 0.05
    assert tools.notes["trace_source"] == "fk" and tools.notes["action_source"] == "command"


def test_kinematics_without_joints_say_what_is_missing() -> None:
    with pytest.raises(BadEpisode, match="no joint states"):
        make_ticks(recording(20), _card("fk"))


def test_a_bag_with_neither_poses_nor_joints_names_the_topic(tmp_path: Path) -> None:
    with pytest.raises(BadEpisode, match=r"nothing on '/current_pose'"):
        read_bag(write_bag(tmp_path, "none", poses=[]), TOPICS)
