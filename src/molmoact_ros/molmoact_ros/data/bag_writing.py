"""Demonstrations of the simulated robot as rosbag2 bags, in the topics a robot's recorder writes.

Written with a third party's writer, so that labelling never depends on how our recorder works.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from molmoact_ros.bags.pictures import DEPTH_HEADER, PNG_OPTIONS
from molmoact_ros.data.bag_source import BagTopics
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.geometry import Camera, Pose

_PICTURE = "sensor_msgs/msg/CompressedImage"


class DemonstrationBag:
    """Use as a context manager; times in nanoseconds."""

    def __init__(self, folder: Path, custom: Mapping[str, str], topics: BagTopics) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._types = self._store.types
        self._topics = topics
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._custom = dict(custom)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> DemonstrationBag:
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for key, value in self._custom.items():
            self._writer.set_custom_data(key, value)
        self._writer.close()

    def note(self, key: str, value: str) -> None:
        """Text for metadata.yaml, e.g. the outcome."""
        self._custom[key] = value

    def colour(self, topic: str, stamp: int, rgb: NDArray[np.uint8], quality: int = 92) -> None:
        self._put(
            f"{topic}/compressed",
            stamp,
            _PICTURE,
            header=self._header(stamp, "camera"),
            format="rgb8; jpeg compressed bgr8",
            data=np.frombuffer(encode_jpeg(rgb, quality), np.uint8),
        )

    def depth(self, topic: str, stamp: int, metres: NDArray[np.float32]) -> None:
        """Whole millimetres, 0 unknown."""
        values = np.clip(np.rint(metres * 1000.0), 0, 65535).astype(np.uint16)
        _, png = cv2.imencode(".png", values, PNG_OPTIONS)
        data = np.concatenate([np.frombuffer(DEPTH_HEADER, np.uint8), png.reshape(-1)])
        self._put(
            f"{topic}/compressedDepth",
            stamp,
            _PICTURE,
            header=self._header(stamp, "camera"),
            format="16UC1; compressedDepth png",
            data=data,
        )

    def calibration(self, stamp: int, camera: Camera, frame: str) -> None:
        """Camera info and the static transform of the first camera."""
        k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
        p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        region = self._make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        self._put(
            self._topics.camera_info,
            stamp,
            "sensor_msgs/msg/CameraInfo",
            header=self._header(stamp, frame),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=np.array(k),
            r=np.eye(3).reshape(-1),
            p=np.array(p),
            binning_x=0,
            binning_y=0,
            roi=region,
        )
        mount = Pose.from_matrix(camera.base_from_optical)
        moved = self._make(
            "geometry_msgs/msg/Transform",
            self._make("geometry_msgs/msg/Vector3", *mount.position),
            self._make("geometry_msgs/msg/Quaternion", *mount.quaternion),
        )
        stamped = self._make(
            "geometry_msgs/msg/TransformStamped",
            self._header(stamp, self._topics.base_frame), frame, moved,
        )  # fmt: skip
        self._put("/tf_static", stamp, "tf2_msgs/msg/TFMessage", transforms=[stamped])

    def pose(self, topic: str, stamp: int, pose: Pose) -> None:
        point = self._make("geometry_msgs/msg/Point", *pose.position)
        turn = self._make("geometry_msgs/msg/Quaternion", *pose.quaternion)
        self._put(
            topic,
            stamp,
            "geometry_msgs/msg/PoseStamped",
            header=self._header(stamp, self._topics.base_frame),
            pose=self._make("geometry_msgs/msg/Pose", point, turn),
        )

    def number(self, topic: str, stamp: int, value: float) -> None:
        self._put(topic, stamp, "std_msgs/msg/Float64", data=float(value))

    def flag(self, topic: str, stamp: int, value: bool) -> None:
        self._put(topic, stamp, "std_msgs/msg/Bool", data=bool(value))

    def fingers(self, topic: str, stamp: int, width: float) -> None:
        empty = np.zeros(0)
        self._put(
            topic,
            stamp,
            "sensor_msgs/msg/JointState",
            header=self._header(stamp, ""),
            name=["fr3_finger_joint1", "fr3_finger_joint2"],
            position=np.array([width / 2, width / 2]),
            velocity=empty,
            effort=empty,
        )

    def _put(self, topic: str, stamp: int, type_: str, **fields: Any) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, type_, typestore=self._store
            )
        message = self._types[type_](**fields)
        data = self._store.serialize_cdr(message, type_)
        self._writer.write(self._connections[topic], stamp, data)

    def _header(self, stamp: int, frame: str) -> Any:
        seconds, rest = divmod(stamp, 10**9)
        time = self._make("builtin_interfaces/msg/Time", int(seconds), int(rest))
        return self._make("std_msgs/msg/Header", time, frame)

    def _make(self, type_: str, *values: Any) -> Any:
        return self._types[type_](*values)
