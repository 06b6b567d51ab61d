"""What a policy saw, built again from a bag.

The same ObservationBuffer that serves the live node is fed in the order of arrival, so an
observation of the bag equals the live one but for the loss of the image codec (depth has none).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.bags.decode import stamp_seconds
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.reader import BagMessage, BagReader
from molmoact_ros.bags.roles import (
    Roles,
    camera_of,
    colour_of,
    depth_of,
    pose_of,
    stored_name,
    transform_of,
)
from molmoact_ros.frames import FrameTree, UnknownTransform
from molmoact_ros.geometry import Camera
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.observations import NotReady, ObservationBuffer

THINKING = 2
"""PolicyStatus.THINKING: published right after the policy took its observation."""

SAME_STAMP_S = 1e-4
"""Seconds as float lose some of a stamp's nanoseconds; two pictures lie further apart."""


class BagObservations:
    """Feeds one bag's messages to a buffer. Raises BadBag when a camera is missing.

    pictures: the newest of each camera. camera: calibration of the external one, or None.
    """

    def __init__(self, reader: BagReader, roles: Roles | None = None, *, images: int = 2) -> None:
        self.reader = reader
        self.roles = roles or Roles()
        slots = ("external", "wrist")[:images]
        self.buffer = ObservationBuffer(slots)
        self.names: dict[str, str] = {}
        for role in (*slots, "depth", "camera_info", "measured", "commanded", "gripper",
                     "policy_status", "reasoning", "transforms"):  # fmt: skip
            found = stored_name(reader, str(getattr(self.roles, role)))
            if found is not None:
                self.names[found] = role
            elif role in slots:
                known = ", ".join(sorted(reader.topics)) or "none"
                raise BadBag(
                    f"{reader.path}: no pictures on {getattr(self.roles, role)} (topics: {known}); "
                    "name the topic of the bag with --external or --wrist"
                )
        self.pictures: dict[str, NDArray[np.uint8]] = {}
        self.camera: Camera | None = None
        self._frames = FrameTree()
        self._info: Any = None

    def events(self) -> Iterator[tuple[str, BagMessage, Any]]:
        """Every message of a role as (role, message, decoded), after it was fed to the buffer."""
        for message in self.reader.messages(self.names):
            role, decoded = self.names[message.topic], self.reader.decode(message)
            self.feed(role, decoded)
            yield role, message, decoded

    def feed(self, role: str, decoded: Any) -> None:
        """One decoded message into the buffer."""
        if role in ("external", "wrist"):
            self.pictures[role] = colour_of(decoded)
            self.buffer.add_image(role, stamp_seconds(decoded), self.pictures[role])
        elif role == "depth":
            self.buffer.add_depth(stamp_seconds(decoded), depth_of(decoded))
        elif role in ("measured", "commanded"):
            pose = pose_of(decoded.pose)
            self.buffer.add_pose(stamp_seconds(decoded), pose, commanded=role == "commanded")
        elif role == "gripper" and len(decoded.position) >= 2:
            self.buffer.set_gripper(float(decoded.position[0] + decoded.position[1]))
        elif role == "transforms":
            for item in decoded.transforms:
                parent, child = item.header.frame_id, item.child_frame_id
                self._frames.add(parent, child, transform_of(item.transform))
        elif role == "camera_info":
            self._info = decoded
        if role in ("transforms", "camera_info"):
            self._calibrate()

    def _calibrate(self) -> None:
        if self._info is None:
            return
        try:
            pose = self._frames.lookup(self.roles.base_frame, self._info.header.frame_id)
        except UnknownTransform:
            return
        self.camera = camera_of(self._info, pose)
        self.buffer.set_camera(self.camera)


@dataclass(frozen=True)
class Recorded:
    """An observation at ``now`` (seconds) and, when the bag holds it, the thought it led to."""

    now: float
    observation: Observation
    reasoning: Any | None = None


def recorded_thoughts(source: BagObservations) -> Iterator[Recorded]:
    """Every observation that the policy took while recording, with what it thought then."""
    waiting: list[Recorded] = []
    for role, _, decoded in source.events():
        if role == "policy_status" and decoded.phase == THINKING:
            now = stamp_seconds(decoded)
            observation = _build(source, now, decoded.instruction)
            if observation is not None:
                waiting = [*waiting[-1:], Recorded(now, observation)]
        elif role == "reasoning":
            stamp = stamp_seconds(decoded)
            for recorded in waiting:
                if abs(recorded.observation.stamp - stamp) < SAME_STAMP_S:
                    yield Recorded(recorded.now, recorded.observation, decoded)
                    waiting = [other for other in waiting if other is not recorded]
                    break


def sampled(source: BagObservations, instruction: str, period: float) -> Iterator[Recorded]:
    """An observation every ``period`` seconds, at the arrival of an external image."""
    last = float("-inf")
    for role, message, decoded in source.events():
        stamp = stamp_seconds(decoded) if role == "external" else 0.0
        if role == "external" and stamp - last >= period - 1e-3:
            now = max(stamp, message.log_ns * 1e-9)
            observation = _build(source, now, instruction)
            if observation is not None:
                last = stamp
                yield Recorded(now, observation)


def _build(source: BagObservations, now: float, instruction: str) -> Observation | None:
    try:
        return source.buffer.build(now, instruction)
    except NotReady:
        return None  # the live policy waited here, too
