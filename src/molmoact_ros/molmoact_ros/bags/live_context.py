"""What the running system says about itself, kept for the next episode."""

from __future__ import annotations

import struct
from functools import lru_cache

from mcap.exceptions import McapError

from molmoact_ros.bags.decode import installed_decoder
from molmoact_ros.bags.definitions import UnknownType
from molmoact_ros.bags.metadata import Topic
from molmoact_ros.bags.provenance import digest
from molmoact_ros.reasoning.prompts import question

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
REASONING = "molmoact_msgs/msg/Reasoning"
STATIC = "/tf_static"
DESCRIPTION = "/robot_description"
_UNREADABLE = (McapError, UnknownType, ValueError, struct.error)
STATIC_KEPT = 64
"""Every broadcaster latches a message of its own on /tf_static."""


class LiveContext:
    """Remembers the newest messages that explain the others. One thread writes."""

    def __init__(self) -> None:
        self._latched: dict[str, dict[bytes, int]] = {}
        self._newest: dict[str, tuple[str, bytes]] = {}

    def keep(self, topic: Topic, publish_ns: int, data: bytes) -> None:
        if topic.latched:
            kept = self._latched.setdefault(topic.name, {})
            for older in list(kept):
                if topic.name != STATIC or _frames(older) <= _frames(data):
                    del kept[older]
            kept[data] = publish_ns
            if len(kept) > STATIC_KEPT:
                kept.pop(next(iter(kept)))
        if topic.type in (CAMERA_INFO, REASONING):
            self._newest[topic.name] = (topic.type, data)

    def latched(self) -> list[tuple[str, int, bytes]]:
        """(topic, publication in ns, message): what a new bag must begin with."""
        found = list(self._latched.items())
        return [(name, ns, data) for name, kept in found for data, ns in list(kept.items())]

    def provenance(self, task: str, cameras: int) -> dict[str, str]:
        """model, prompt, calibration and urdf as far as they are known."""
        values = {
            "model": self._model(),
            "calibration": self._calibration(),
            "urdf": digest(*self._latched.get(DESCRIPTION, {})),
            "prompt": question(task, cameras) if task else "",
        }
        return {name: value for name, value in values.items() if value}

    def _model(self) -> str:
        for type_, data in list(self._newest.values()):
            if type_ == REASONING:
                try:
                    return str(installed_decoder(type_)(data).model)
                except _UNREADABLE:
                    return ""
        return ""

    def _calibration(self) -> str:
        """Digest of intrinsics and static transforms without their stamps."""
        parts = []
        try:
            for type_, data in list(self._newest.values()):
                if type_ == CAMERA_INFO:
                    info = installed_decoder(type_)(data)
                    numbers = [*map(float, info.k), *map(float, info.d)]
                    parts.append(f"{info.header.frame_id} {info.width} {info.height} {numbers}")
            for data in list(self._latched.get(STATIC, {})):
                for item in installed_decoder("tf2_msgs/msg/TFMessage")(data).transforms:
                    t, r = item.transform.translation, item.transform.rotation
                    numbers = [t.x, t.y, t.z, r.x, r.y, r.z, r.w]
                    parts.append(f"{item.header.frame_id} {item.child_frame_id} {numbers}")
        except _UNREADABLE:
            return ""
        return digest(*parts)


@lru_cache(256)
def _frames(data: bytes) -> frozenset[object]:
    """The frames that a message of /tf_static places; itself if it cannot be read.

    A camera that was calibrated anew must not keep its old pose in the next bag.
    """
    try:
        message = installed_decoder("tf2_msgs/msg/TFMessage")(data)
    except _UNREADABLE:
        return frozenset({data})
    return frozenset(item.child_frame_id for item in message.transforms)
