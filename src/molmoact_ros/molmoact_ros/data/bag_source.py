"""A recorded bag (rosbag2, MCAP) as a ``Recording``. The only reader of bags in this package.

Pictures are not decoded here, only taken apart, so that a thousand frames cost milliseconds.
Timeline: the header's stamp where a message has one, else the time it was received.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from molmoact_ros.bags.cdr import BadCdr, CdrReader, read_image
from molmoact_ros.bags.episodes import read_episode
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.data.recording import BadEpisode, Picture, Recording, stream_of
from molmoact_ros.data.resampling import Stream
from molmoact_ros.frames import FrameTree, UnknownTransform
from molmoact_ros.geometry import Camera, Floats, Pose

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


@dataclass(frozen=True)
class BagTopics:
    """Names in the bag, without the suffix of compressed twins. Empty: not recorded."""

    images: tuple[tuple[str, str], ...] = (
        ("external", "/cameras/external/color/image_raw"),
        ("wrist", "/cameras/wrist/color/image_raw"),
    )
    depth: str = "/cameras/external/aligned_depth_to_color/image_raw"
    camera_info: str = "/cameras/external/color/camera_info"
    measured: str = "/current_pose"
    commanded: str = "/target_pose"
    gripper: str = "/gripper_command"
    fingers: str = "/gripper/joint_states"
    joints: str = "/joint_states"
    clean: str = "/demonstration/clean"
    base_frame: str = "fr3_link0"

    @property
    def _pictures(self) -> set[str]:
        return {topic for _, topic in self.images} | {self.depth}

    @property
    def _numbers(self) -> set[str]:
        return {
            self.camera_info, self.measured, self.commanded, self.gripper, self.fingers,
            self.joints, self.clean, "/tf_static",
        } - {""}  # fmt: skip


def find_bags(root: Path) -> list[Path]:
    """Bag folders at or below ``root``, by path."""
    return sorted(
        path.parent
        for path in root.rglob("metadata.yaml")
        if not path.parent.name.endswith(".partial")
    )


def bag_id(folder: Path, custom: Mapping[str, str]) -> str:
    """The recorder's episode id and when it began, because every folder counts from one; bags of
    others are known by the end of their path.
    """
    name = custom.get("episode_id") or f"{folder.parent.name}/{folder.name}"
    started = custom.get("started", "")
    return f"{name} of {started}" if started else name


def read_bag(folder: Path, topics: BagTopics, instruction: str = "") -> Recording:
    """One episode. ``instruction`` stands in when the bag names no task.

    Raises BadEpisode naming the topic or field that is missing.
    """
    try:
        known = read_episode(folder)
    except BadBag as error:
        raise BadEpisode(str(error)) from error
    task = known.task or instruction
    if not task:
        raise BadEpisode(f"{folder.name}: names no task; label it, or pass --instruction")
    found = _Found(topics)
    try:
        for path in sorted(folder.glob("*.mcap")):
            found.read(path)
    except (OSError, McapError, BadCdr) as error:
        raise BadEpisode(f"{folder.name}: {error}; run molmoact bag recover {folder}") from error
    said = {"success": True, "failure": False, "discard": False}.get(known.outcome)
    return found.recording(bag_id(folder, known.custom), task, said, known.custom)


class _Found:
    """Messages of the wanted topics, sorted into streams while reading."""

    def __init__(self, topics: BagTopics) -> None:
        self._topics = topics
        self._pictures: dict[str, list[tuple[int, Picture]]] = defaultdict(list)
        self._numbers: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        self._tree = FrameTree()
        self._decoders = DecoderFactory()
        self._seen: set[str] = set()

    def read(self, path: Path) -> None:
        decode: dict[int, Callable[[bytes], Any]] = {}
        with path.open("rb") as file:
            for schema, channel, message in make_reader(file).iter_messages(log_time_order=False):
                name = re.sub(r"/(compressed|compressedDepth)$", "", channel.topic)
                self._seen.add(name)
                if schema is None:
                    continue
                if name in self._topics._pictures and schema.name in (_IMAGE, _COMPRESSED):
                    stamp, picture = _picture(schema.name, message.data)
                    self._pictures[name].append((stamp, picture))
                elif name in self._topics._numbers:
                    if channel.id not in decode:
                        maker = self._decoders.decoder_for(channel.message_encoding, schema)
                        if maker is None:
                            raise BadEpisode(f"{path}: {channel.topic} is not CDR; record again")
                        decode[channel.id] = maker
                    self._take(name, message.log_time, decode[channel.id](message.data))

    def _take(self, name: str, received: int, message: Any) -> None:
        if name == "/tf_static":
            for transform in message.transforms:
                moved = transform.transform
                pose = _pose(moved.translation, moved.rotation)
                self._tree.add(transform.header.frame_id, transform.child_frame_id, pose.matrix)
            return
        stamp = received
        if hasattr(message, "header"):
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self._numbers[name].append((stamp, message))

    def recording(
        self, episode_id: str, task: str, success: bool | None, notes: dict[str, str]
    ) -> Recording:
        topics = self._topics
        pictures = {name: self._picture_stream(topic) for name, topic in topics.images}
        commanded = self._poses(topics.commanded)
        return Recording(
            episode_id=episode_id,
            instruction=task,
            success=success,
            pictures={name: self._required(stream, name) for name, stream in pictures.items()},
            measured=self._required(self._poses(topics.measured), topics.measured),
            commanded=commanded,
            gripper=self._required(
                self._floats(topics.gripper, lambda m: [m.data]), topics.gripper
            ),
            depth=self._picture_stream(topics.depth),
            camera=self._camera(),
            width=self._floats(topics.fingers, lambda m: [float(sum(m.position))]),
            joints=self._floats(topics.joints, lambda m: list(m.position)[:7]),
            clean=self._floats(topics.clean, lambda m: [float(m.data)]),
            notes=notes,
        )

    def _required(self, stream: Stream[Any] | None, name: str) -> Stream[Any]:
        if stream is None:
            seen = ", ".join(sorted(self._seen)) or "nothing"
            raise BadEpisode(f"nothing on '{name}'; the bag holds {seen}. Record it, or map topics")
        return stream

    def _picture_stream(self, topic: str) -> Stream[Picture] | None:
        rows = sorted(self._pictures.get(topic, ()), key=lambda row: row[0])
        if not rows:
            return None
        return Stream(np.array([stamp for stamp, _ in rows], np.int64), [p for _, p in rows])

    def _rows(self, topic: str) -> Iterator[tuple[int, Any]]:
        yield from sorted(self._numbers.get(topic, ()), key=lambda row: row[0])

    def _floats(self, topic: str, read: Callable[[Any], list[float]]) -> Stream[Floats] | None:
        rows = [(stamp, np.array(read(m), np.float64)) for stamp, m in self._rows(topic)]
        rows = [row for row in rows if np.isfinite(row[1]).all()]
        return stream_of([s for s, _ in rows], [v for _, v in rows]) if rows else None

    def _poses(self, topic: str) -> Stream[Pose] | None:
        stamps, poses = [], []
        for stamp, message in self._rows(topic):
            frame = message.header.frame_id
            if frame not in ("", self._topics.base_frame):
                raise BadEpisode(
                    f"{topic} is in frame '{frame}', expected '{self._topics.base_frame}'; record "
                    "poses in the base frame"
                )
            stamps.append(stamp)
            poses.append(_pose(message.pose.position, message.pose.orientation))
        return Stream(np.array(stamps, np.int64), poses) if poses else None

    def _camera(self) -> Camera | None:
        infos = [message for _, message in self._rows(self._topics.camera_info)]
        if not infos:
            return None
        info = infos[-1]
        try:
            mount = self._tree.lookup(self._topics.base_frame, info.header.frame_id)
        except UnknownTransform:
            return None
        k = [float(value) for value in info.k]
        if min(k[0], k[4]) <= 0.0 or any(abs(float(value)) > 1e-9 for value in info.d):
            raise BadEpisode(
                f"{self._topics.camera_info}: focal length {k[0]} or lens distortion {list(info.d)}"
                "; record rectified pictures with their camera info"
            )
        return Camera(int(info.width), int(info.height), k[0], k[4], k[2], k[5], mount)


def _picture(type_: str, data: bytes) -> tuple[int, Picture]:
    if type_ == _IMAGE:
        image = read_image(data)
        pixel = {"rgb8": 3, "bgr8": 3, "16UC1": 2}.get(image.encoding, 0)
        if not pixel or image.big_endian:
            raise BadEpisode(f"pictures are {image.encoding}; record rgb8, bgr8 or 16UC1")
        rows = np.frombuffer(image.data, np.uint8, image.step * image.height)
        tight = rows.reshape(image.height, image.step)[:, : image.width * pixel].tobytes()
        kind = "depth16" if pixel == 2 else image.encoding
        return image.stamp_ns, Picture(kind, tight, (image.height, image.width))
    reader = CdrReader(data)
    stamp = reader.int32() * 10**9 + reader.uint32()
    reader.string()
    kind = "depth_png" if "compressedDepth" in reader.string() else "jpeg"
    return stamp, Picture(kind, bytes(reader.octets()))


def _pose(position: Any, rotation: Any) -> Pose:
    quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)
    norm = float(np.linalg.norm(quaternion))
    place = np.array([position.x, position.y, position.z], dtype=np.float64)
    if not np.isfinite(place).all() or not 0.5 < norm < 2.0:
        raise BadEpisode(f"a pose is not finite or has no rotation ({place}, |q| = {norm:.2f})")
    return Pose(place, quaternion / norm)
