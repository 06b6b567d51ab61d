"""`molmoact bag rerun`: what Rerun shows is what the bag holds, at the time it was about."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bag_helpers import T0, photo, topic
from geometry_msgs.msg import TransformStamped
from molmoact_msgs.msg import Reasoning, TracePoint
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Header
from tf2_msgs.msg import TFMessage

from molmoact_ros import bag_command
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.pictures import Codec
from molmoact_ros.bags.rerun_export import TIMELINE, rerun_module
from molmoact_ros.bags.take import Take
from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.nodes import convert

EXTERNAL = "/cameras/external/color/image_raw"
DEPTH = "/cameras/external/aligned_depth_to_color/image_raw"
TYPES = {
    EXTERNAL: "sensor_msgs/msg/Image",
    "/cameras/wrist/color/image_raw": "sensor_msgs/msg/Image",
    DEPTH: "sensor_msgs/msg/Image",
    "/cameras/external/color/camera_info": "sensor_msgs/msg/CameraInfo",
    "/current_pose": "geometry_msgs/msg/PoseStamped",
    "/gripper/joint_states": "sensor_msgs/msg/JointState",
    "/gripper_command": "std_msgs/msg/Float64",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/policy/reasoning": "molmoact_msgs/msg/Reasoning",
}
CAMERA = Camera(64, 48, 60.0, 60.0, 32.0, 24.0, np.eye(4))
ROWS = [[0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0]]
POINTS = [(64.0, 64.0), (127.5, 127.5), (200.0, 120.0)]
FRAMES = 12


def looking_down() -> np.ndarray:
    """Optical frame 1 m above (0.4, 0, 0)."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], dtype=float)
    pose[:3, 3] = (0.4, 0.0, 1.0)
    return pose


def thought(stamp_ns: int, chunk_id: int) -> Reasoning:
    message = Reasoning(
        instruction="pick up the red cube", model="a test", chunk_id=chunk_id, text="it sees a cube"
    )
    message.header.stamp = convert.to_time(stamp_ns * 1e-9)
    message.trace.points = [TracePoint(x=x, y=y) for x, y in POINTS]
    message.depth.rows = message.depth.cols = 10
    message.depth.codebook_size, message.depth.codes = 128, [7] * 100
    message.actions.names = ["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"]
    message.actions.rows = len(ROWS)
    message.actions.data = [value for row in ROWS for value in row]
    return message


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags") / "episode"
    take = Take(folder, [topic(n, t) for n, t in TYPES.items()], {"task": "pick up"}, Codec())
    take.start()
    sent = 0

    def send(name: str, at: int, message: Any) -> None:
        nonlocal sent
        sent += 1
        assert take.put(name, at + sent, at + sent, bytes(serialize_message(message)))

    def header(ns: int, frame: str) -> Header:
        return Header(stamp=convert.to_time(ns * 1e-9), frame_id=frame)

    mount = TransformStamped(header=header(T0, "fr3_link0"), child_frame_id="optical")
    mount.transform = convert.transform_message(looking_down())
    send("/tf_static", T0, TFMessage(transforms=[mount]))
    for tick in range(FRAMES * 3):
        now = T0 + tick * 50_000_000
        pose = Pose(np.array([0.4 + 0.002 * tick, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
        send("/current_pose", now, convert.pose_stamped(pose, now * 1e-9, "fr3_link0"))
        fingers = JointState(header=header(now, ""), name=["l", "r"], position=[0.02, 0.02])
        send("/gripper/joint_states", now, fingers)
        if tick % 3:
            continue
        optical = header(now, "optical")
        info = convert.camera_info_message(CAMERA, optical)
        send("/cameras/external/color/camera_info", now, info)
        depth = np.full((48, 64), 990, np.uint16)
        send(DEPTH, now, convert.image_message(depth, "16UC1", optical))
        for slot in ("external", "wrist"):
            picture = convert.image_message(photo(tick), "rgb8", optical)
            send(f"/cameras/{slot}/color/image_raw", now, picture)
        if tick % 12 == 0:
            send("/policy/reasoning", now + 40_000_000, thought(now, tick // 12 + 1))
            send("/gripper_command", now, Float64(data=1.0 - (tick % 24) / 12))
    return take.stop({})


@pytest.fixture(scope="module")
def chunks(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The written file, read back by Rerun's own reader: entity -> its rows."""
    rr = pytest.importorskip("rerun", reason="pip install rerun-sdk==0.41.0")
    out = tmp_path_factory.mktemp("out") / "episode.rrd"
    assert _run("rerun", bag, "--out", out) == 0
    found: dict[str, list[dict[str, Any]]] = {}
    for chunk in rr.chunk.RrdReader(str(out)).stream():
        batch = chunk.to_record_batch()
        names = batch.schema.names
        columns = {
            name: (column.cast("int64") if "timestamp" in str(column.type) else column).to_pylist()
            for name, column in zip(names, batch.columns, strict=True)
        }
        rows = [
            dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)
        ]
        found.setdefault(str(chunk.entity_path).lstrip("/"), []).extend(rows)
    return found


def _run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    bag_command.add_arguments(parser)
    return bag_command.run(parser.parse_args([str(word) for word in words]))


def _field(row: dict[str, Any], end: str) -> Any:
    (found,) = (value for name, value in row.items() if name.endswith(end))
    return found


def _seconds(row: dict[str, Any]) -> float:
    return float(row[TIMELINE]) * 1e-9


def timed(chunks: dict[str, list[dict[str, Any]]], entity: str) -> list[dict[str, Any]]:
    """An entity's rows in order of time, without what is static."""
    return sorted((r for r in chunks[entity] if r.get(TIMELINE) is not None), key=_seconds)


def test_everything_of_an_episode_is_there(chunks: dict[str, list[dict[str, Any]]]) -> None:
    """Pictures, depth, lines, chunk, poses, gripper and words, on one timeline."""
    count = {name: len(timed(chunks, name)) for name in chunks}
    assert count["world/camera/image"] == count["wrist/image"] == FRAMES
    assert count["world/camera/depth"] == FRAMES
    assert count["world/tool"] == count["gripper/width"] == FRAMES * 3
    for name in ("model/depth", "world/camera/image/trace", "world/trace", "world/chunk",
                 "thought/text", "thought/seconds", "log", "gripper/command"):  # fmt: skip
        assert count[name] == 3, name
    assert count["instruction"] == 1, "an instruction is said once, when it changes"


def test_a_thought_stands_at_the_picture_it_is_about(
    chunks: dict[str, list[dict[str, Any]]],
) -> None:
    """40 ms later the arm is elsewhere, and the lines would not fit the picture."""
    pictures = {round(_seconds(row), 3) for row in chunks["world/camera/image"]}
    thoughts = [round(_seconds(row), 3) for row in chunks["thought/text"]]
    assert len(thoughts) == 3 and set(thoughts) <= pictures


def test_numbers_survive(chunks: dict[str, list[dict[str, Any]]]) -> None:
    """Lines in pixels and metres, a picture that is the recorded JPEG, words as they were."""
    (pixels,) = _field(timed(chunks, "world/camera/image/trace")[0], "strips")
    assert np.allclose(pixels, np.array(POINTS) / 255 * (64, 48), atol=1e-4)
    (lifted,) = _field(timed(chunks, "world/trace")[0], "strips")
    assert np.allclose(np.array(lifted)[:, 2], 0.01, atol=1e-3), "1 m up, 0.99 m of depth"
    pieces = np.array(_field(timed(chunks, "world/chunk")[0], "strips"))
    assert np.allclose(pieces[1, 1] - pieces[0, 0], [0.01, 0.02, 0.0], atol=1e-6)
    (blob,) = _field(timed(chunks, "world/camera/image")[0], "blob")
    shown = cv2.imdecode(np.array(blob, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (48, 64, 3) and shown.std() > 10
    (words,) = _field(timed(chunks, "thought/text")[0], "text")
    assert "it sees a cube" in words and "accepted" in words
    (width,) = _field(timed(chunks, "gripper/width")[0], "scalars")
    assert width == pytest.approx(0.04)
    assert [_field(row, "scalars")[0] for row in timed(chunks, "gripper/command")] == [
        1.0,
        0.0,
        1.0,
    ]


def test_without_rerun_the_remedy_is_said(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(BadBag, match="pip install rerun-sdk"):
        rerun_module()
    out = tmp_path / "x.rrd"
    assert _run("rerun", bag, "--out", out) == 2
    assert "pip install rerun-sdk" in capsys.readouterr().err
    assert not out.exists()
