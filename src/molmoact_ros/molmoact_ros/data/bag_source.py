"""A recorded bag (rosbag2, MCAP) as a ``Recording``. The only reader of bags in this package.

Pictures are not decoded here, only taken apart, so that a thousand frames cost milliseconds.
Timeline of a topic: the headers' stamps where its first message has one, else when messages were
received. A recorder that wrote ``.db3`` files instead is told how to convert them.
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

from molmoact_ros.bags.cdr import BadCdr
from molmoact_ros.bags.episodes import read_episode
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.data.bag_messages import (
    COMPRESSED,
    IMAGE,
    arm_joints,
    picture_of,
    pose_of,
    stamp_of,
)
from molmoact_ros.data.recording import BadEpisode, Picture, Recording, stream_of
from molmoact_ros.data.resampling import Stream
from molmoact_ros.frames import FrameTree, UnknownTransform
from molmoact_ros.geometry import Camera, Floats, Pose


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
        for path in _files(folder):
            found.read(path)
    except (OSError, McapError, BadCdr) as error:
        raise BadEpisode(f"{folder.name}: {error}; run molmoact bag recover {folder}") from error
    said = {"success": True, "failure": False, "discard": False}.get(known.outcome)
    return found.recording(bag_id(folder, known.custom), task, said, known.custom)


def _files(folder: Path) -> list[Path]:
    """The bag's MCAP files. Raises BadEpisode when it has none."""
    files = sorted(folder.glob("*.mcap"))
    if files:
        return files
    if any(".db3" in path.name or path.suffix == ".zstd" for path in folder.iterdir()):
        raise BadEpisode(
            f"{folder.name} is no plain MCAP; convert it: ros2 bag convert -i {folder} -o "
            "options.yaml (output_bags: [{uri: NEW, storage_id: mcap, all: true}])"
        )
    raise BadEpisode(f"{folder.name}: no .mcap file beside metadata.yaml; copy the bag again")


class _Found:
    """Messages of the wanted topics, sorted into streams while reading."""

    def __init__(self, topics: BagTopics) -> None:
        self._topics = topics
        self._pictures: dict[str, list[tuple[int, Picture]]] = defaultdict(list)
        self._numbers: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        self._tree = FrameTree()
        self._decoders = DecoderFactory()
        self._seen: set[str] = set()
        self._timeline: dict[str, str] = {}

    def read(self, path: Path) -> None:
        decode: dict[int, Callable[[bytes], Any]] = {}
        with path.open("rb") as file:
            for schema, channel, message in make_reader(file).iter_messages(log_time_order=False):
                name = re.sub(r"/(compressed|compressedDepth)$", "", channel.topic)
                self._seen.add(name)
                if schema is None:
                    continue
                if name in self._topics._pictures and schema.name in (IMAGE, COMPRESSED):
                    stamp, picture = picture_of(schema.name, message.data)
                    when = self._when(name, stamp, message.log_time)
                    self._pictures[name].append((when, picture))
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
                pose = pose_of(moved.translation, moved.rotation)
                self._tree.add(transform.header.frame_id, transform.child_frame_id, pose.matrix)
            return
        when = self._when(name, stamp_of(message), received)
        self._numbers[name].append((when, message))

    def _when(self, name: str, stamp: int, received: int) -> int:
        chosen = self._timeline.setdefault(name, "header" if stamp else "received")
        return stamp if chosen == "header" else received

    def recording(
        self, episode_id: str, task: str, success: bool | None, notes: dict[str, str]
    ) -> Recording:
        topics = self._topics
        pictures = {name: self._picture_stream(topic) for name, topic in topics.images}
        measured = self._poses(topics.measured)
        joints = self._floats(topics.joints, arm_joints)
        if joints is None:
            measured = self._required(measured, topics.measured)
        return Recording(
            episode_id=episode_id,
            instruction=task,
            success=success,
            pictures={name: self._required(stream, name) for name, stream in pictures.items()},
            measured=measured,
            commanded=self._poses(topics.commanded),
            gripper=self._required(
                self._floats(topics.gripper, lambda m: [m.data]), topics.gripper
            ),
            depth=self._picture_stream(topics.depth),
            camera=self._camera(),
            width=self._floats(topics.fingers, lambda m: [float(sum(m.position))]),
            joints=joints,
            clean=self._floats(topics.clean, lambda m: [float(m.data)]),
            notes=notes,
            timeline=dict(sorted(self._timeline.items())),
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
        rows = [row for row in rows if row[1].size and np.isfinite(row[1]).all()]
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
            poses.append(pose_of(message.pose.position, message.pose.orientation))
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
