"""What a policy sees from a bag equals what it saw live, byte for byte after the image codec.

Both sides share policy/observations.py; this pins that the bag feeds it the same values in the
same order, through other code (no message types) than the node's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bag_helpers import T0, photo, topic
from geometry_msgs.msg import TransformStamped
from molmoact_msgs.msg import PolicyStatus, Reasoning
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from molmoact_ros.bags.observations import BagObservations, recorded_thoughts, sampled
from molmoact_ros.bags.pictures import Codec, compress, decode_colour
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.bags.take import Take
from molmoact_ros.frames import FrameTree
from molmoact_ros.geometry import Camera, Pose, quaternion_from_rpy
from molmoact_ros.nodes import convert
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.observations import ObservationBuffer

TYPES = {
    "/cameras/external/color/image_raw": "sensor_msgs/msg/Image",
    "/cameras/wrist/color/image_raw": "sensor_msgs/msg/Image",
    "/cameras/external/aligned_depth_to_color/image_raw": "sensor_msgs/msg/Image",
    "/cameras/external/color/camera_info": "sensor_msgs/msg/CameraInfo",
    "/current_pose": "geometry_msgs/msg/PoseStamped",
    "/target_pose": "geometry_msgs/msg/PoseStamped",
    "/gripper/joint_states": "sensor_msgs/msg/JointState",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/policy/status": "molmoact_msgs/msg/PolicyStatus",
    "/policy/reasoning": "molmoact_msgs/msg/Reasoning",
}
CALIBRATION = Camera(64, 48, 60.0, 61.0, 32.0, 24.0, np.eye(4))


def _after_codec(message: Image, codec: Codec) -> np.ndarray:
    """What the codec leaves of a live picture."""
    made = compress(bytes(serialize_message(message)), codec)
    if made is None:
        return convert.rgb_from(message)
    jpeg = made[1][made[1].index(b"\xff\xd8") :]
    return decode_colour("jpeg", jpeg)


class Live:
    """The node's side: the same messages, converted by nodes/convert.py."""

    def __init__(self, codec: Codec) -> None:
        self.buffer = ObservationBuffer(("external", "wrist"))
        self.codec = codec
        self.tree = FrameTree()
        self.seen: list[Observation] = []

    def receive(self, name: str, message: object) -> None:
        if name.endswith("/color/image_raw"):
            slot = name.split("/")[2]
            picture = _after_codec(message, self.codec)
            self.buffer.add_image(slot, convert.seconds(message.header.stamp), picture)
        elif "depth" in name:
            depth = convert.depth_from(message)
            self.buffer.add_depth(convert.seconds(message.header.stamp), depth)
        elif name.endswith("camera_info"):
            pose = self.tree.lookup("fr3_link0", message.header.frame_id)
            self.buffer.set_camera(convert.camera_from(message, pose))
        elif name.endswith("_pose"):
            stamp = convert.seconds(message.header.stamp)
            commanded = name == "/target_pose"
            self.buffer.add_pose(stamp, convert.pose_from(message.pose), commanded=commanded)
        elif name == "/gripper/joint_states":
            self.buffer.set_gripper(message.position[0] + message.position[1])
        elif name == "/tf_static":
            for item in message.transforms:
                self.tree.add(
                    item.header.frame_id, item.child_frame_id, convert.matrix_from(item.transform)
                )
        elif name == "/policy/status" and message.phase == PolicyStatus.THINKING:
            now = convert.seconds(message.header.stamp)
            self.seen.append(self.buffer.build(now, message.instruction))


def _drive(take: Take, live: Live, seconds: float = 2.0) -> None:
    """Publish like the stack does, with jitter, to both sides."""
    rng = np.random.default_rng(5)
    latest = sent = 0

    def send(name: str, arrival: int, message: object) -> None:
        nonlocal sent
        sent += 1
        arrival += sent  # no two messages arrive in the same nanosecond
        live.receive(name, message)
        assert take.put(name, arrival, arrival, bytes(serialize_message(message)))

    def header(ns: int, frame: str = "fr3_link0") -> Header:
        return Header(stamp=convert.to_time(ns * 1e-9), frame_id=frame)

    mount = Pose(np.array([1.2, 0.4, 0.7]), quaternion_from_rpy(2.5, 0.1, 0.3))
    transform = TransformStamped(header=header(T0), child_frame_id="optical")
    transform.transform = convert.transform_message(mount.matrix)
    send("/tf_static", T0, TFMessage(transforms=[transform]))
    for tick in range(int(seconds * 100)):
        now = T0 + tick * 10**7 + int(rng.integers(0, 3 * 10**6))
        pose = Pose(
            np.array([0.4 + tick * 1e-3, 0.01, 0.3]), quaternion_from_rpy(3.1, 0, tick / 99)
        )
        send("/current_pose", now, convert.pose_stamped(pose, now * 1e-9, "fr3_link0"))
        if tick % 2:
            target = pose.moved(np.array([0.01, 0, 0, 0, 0, 0.02]))
            send("/target_pose", now, convert.pose_stamped(target, now * 1e-9, "fr3_link0"))
        fingers = JointState(header=header(now), name=["l", "r"], position=[0.02, 0.0201])
        send("/gripper/joint_states", now, fingers)
        if tick % 7 == 3:
            stamp = now - 25 * 10**6
            info = convert.camera_info_message(CALIBRATION, header(stamp, "optical"))
            send("/cameras/external/color/camera_info", now, info)
            depth = np.full((48, 64), 600 + tick, np.uint16)
            name = "/cameras/external/aligned_depth_to_color/image_raw"
            send(name, now, convert.image_message(depth, "16UC1", header(stamp, "optical")))
            for slot in ("wrist", "external"):
                picture = convert.image_message(photo(tick), "rgb8", header(stamp, "optical"))
                send(f"/cameras/{slot}/color/image_raw", now, picture)
            latest = stamp
        if tick % 20 == 19 and latest:
            status = PolicyStatus(header=header(now), instruction="pick up the cube")
            status.phase = PolicyStatus.THINKING
            send("/policy/status", now, status)
            thought = Reasoning(header=header(0), instruction="pick up the cube", chunk_id=tick)
            thought.header.stamp = convert.to_time(live.seen[-1].stamp)
            send("/policy/reasoning", now + 10**6, thought)


def _same(a: Observation, b: Observation) -> None:
    assert (a.stamp, a.instruction, a.gripper_width) == (b.stamp, b.instruction, b.gripper_width)
    for left, right in zip(a.images, b.images, strict=True):
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes()
    assert a.depth is not None and b.depth is not None
    assert a.depth.tobytes() == b.depth.tobytes()
    for left, right in ((a.ee_pose, b.ee_pose), (a.target_pose, b.target_pose)):
        assert left is not None and right is not None
        assert left.position.tobytes() == right.position.tobytes()
        assert left.quaternion.tobytes() == right.quaternion.tobytes()
    assert a.camera is not None and b.camera is not None
    assert a.camera.base_from_optical.tobytes() == b.camera.base_from_optical.tobytes()
    assert (a.camera.fx, a.camera.fy, a.camera.cx) == (b.camera.fx, b.camera.fy, b.camera.cx)


@pytest.mark.parametrize("codec", [Codec(), Codec(colour=False, depth=False)])
def test_every_recorded_thought_had_this_observation(tmp_path: Path, codec: Codec) -> None:
    """Training and offline A/B on anything else than what the policy saw would be a fiction."""
    topics = [topic(name, type_) for name, type_ in TYPES.items()]
    take = Take(tmp_path / "e", topics, {"task": "pick up the cube"}, codec)
    take.start()
    live = Live(codec)
    _drive(take, live)
    bag = take.stop({})
    found = list(recorded_thoughts(BagObservations(BagReader(bag))))
    assert len(found) == len(live.seen) > 5
    for recorded, seen in zip(found, live.seen, strict=True):
        _same(recorded.observation, seen)
    assert [recorded.reasoning.chunk_id for recorded in found] == [19 + 20 * i for i in range(10)]


def test_sampling_follows_the_camera(tmp_path: Path) -> None:
    topics = [topic(name, type_) for name, type_ in TYPES.items()]
    take = Take(tmp_path / "e", topics, {}, Codec())
    take.start()
    _drive(take, Live(Codec()))
    source = BagObservations(BagReader(take.stop({})))
    stamps = [r.observation.stamp for r in sampled(source, "push", 0.2)]
    assert len(stamps) >= 8 and min(np.diff(stamps)) >= 0.2 - 2e-3
