"""Simulated cameras that hang elsewhere in every scene, and say where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2, see ./run setup")
pytest.importorskip("franky_sim", reason="needs franky-sim, see requirements/sim.txt")

from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

sys.path.insert(0, str(Path(__file__).parent))
from stack import Stack, stack

from molmoact_ros.data.bag_messages import pose_of
from molmoact_ros.geometry import Pose
from molmoact_ros.nodes.runtime import SENSOR_QOS, TF_STATIC_QOS
from molmoact_ros.sim.control_channel import SimControl
from molmoact_ros.sim.layout import SceneSpec, scene_spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
FRAMES = ("external_color_optical_frame", "wrist_color_optical_frame")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    nodes = ("sim_arm", "sim_cameras", "franka", "commander")
    with stack(tmp_path_factory.mktemp("moved"), nodes, camera_jitter="1.0") as started:
        yield started


@pytest.mark.parametrize("seed", [5, 6])
def test_pose_and_intrinsics_are_those_of_the_scene(running: Stack, seed: int) -> None:
    """Labels and guards project through what the cameras publish; it must be where they hang."""
    places: dict[str, Pose] = {}
    infos: list[CameraInfo] = []

    def take(message: TFMessage) -> None:
        for item in message.transforms:
            moved = item.transform
            places[item.child_frame_id] = pose_of(moved.translation, moved.rotation)

    person = running.person
    person.create_subscription(TFMessage, "/tf_static", take, TF_STATIC_QOS)
    topic = "/cameras/external/color/camera_info"
    person.create_subscription(CameraInfo, topic, infos.append, SENSOR_QOS)
    SimControl(running.host).reset(seed)
    spec = scene_spec(seed, camera_jitter=1.0)
    setups = dict(zip(FRAMES, (spec.external, spec.wrist), strict=True))

    def hangs(name: str) -> bool:
        wanted = setups[name].mount_from_optical
        return name in places and np.allclose(places[name].matrix, wanted, atol=1e-6)

    def said() -> bool:
        return bool(infos) and _fits(infos[-1], spec) and all(map(hangs, FRAMES))

    assert person.wait(said, 30.0), f"{places}, {infos[-1:]}"
    moved = np.subtract(spec.external.position, scene_spec(seed).external.position)
    assert np.linalg.norm(moved) > 0.005, "choose a seed that moves the camera"


def _fits(info: CameraInfo, spec: SceneSpec) -> bool:
    focal = info.height / 2 / np.tan(np.deg2rad(spec.external.fovy) / 2)
    return bool(np.isclose(info.k[4], focal, rtol=1e-6))
