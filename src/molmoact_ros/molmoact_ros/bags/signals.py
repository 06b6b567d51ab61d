"""What the checks look at, read from a bag once: motion, fingers, commands, stamps, pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from mcap.exceptions import McapError

from molmoact_ros.bags.cdr import BadCdr, read_stamp_ns
from molmoact_ros.bags.decode import stamp_seconds
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.bags.roles import Roles, colour_of, pose_of, stored_name
from molmoact_ros.geometry import Floats

THUMBNAIL = (64, 48)
"""Pixels; motion shows in a small picture, and noise does not."""


@dataclass(frozen=True)
class Track:
    """Values [N, D] at times [N] in seconds."""

    times: Floats
    values: Floats

    @property
    def empty(self) -> bool:
        return not len(self.times)


@dataclass
class Signals:
    """arrivals, stamps: topic -> seconds [N] (stamps nan without header), relative to the bag's
    start. measured, commanded: poses [N, 7] (x y z qx qy qz qw). fingers: width in metres [N, 1].
    gripper: command [N, 1], 1 open. images: topic -> change between two pictures [N, 1]."""

    seconds: float
    custom: dict[str, str]
    arrivals: dict[str, Floats] = field(default_factory=dict)
    stamps: dict[str, Floats] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    measured: Track = field(default_factory=lambda: empty(7))
    commanded: Track = field(default_factory=lambda: empty(7))
    fingers: Track = field(default_factory=lambda: empty(1))
    gripper: Track = field(default_factory=lambda: empty(1))
    images: dict[str, Track] = field(default_factory=dict)


def empty(columns: int) -> Track:
    return Track(np.zeros(0), np.zeros((0, columns)))


def read_signals(
    reader: BagReader, roles: Roles | None = None, *, pictures: bool = True
) -> Signals:
    """Everything in one pass. ``pictures`` False: images are not decoded (fast). Raises BadBag."""
    roles = roles or Roles()
    found = Signals(reader.seconds, dict(reader.custom))
    tracks: dict[str, list[tuple[float, list[float]]]] = {}
    arrivals: dict[str, list[float]] = {}
    stamps: dict[str, list[float]] = {}
    cameras = {stored_name(reader, roles.external), stored_name(reader, roles.wrist)} - {None}
    last: dict[str, np.ndarray] = {}
    for message in reader.messages():
        arrivals.setdefault(message.topic, []).append((message.log_ns - reader.start_ns) * 1e-9)
        stamp = _stamp(message.data)
        stamps.setdefault(message.topic, []).append((stamp - reader.start_ns) * 1e-9)
        found.types[message.topic] = message.type
        try:
            if message.topic in cameras and pictures:
                small = cv2.resize(colour_of(reader.decode(message)), THUMBNAIL)
                grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
                before = last.get(message.topic)
                change = 0.0 if before is None else float(np.mean((grey - before) ** 2)) ** 0.5
                last[message.topic] = grey
                time = stamp_seconds(reader.decode(message)) - reader.start_ns * 1e-9
                tracks.setdefault(message.topic, []).append((time, [change]))
            elif message.topic in (roles.measured, roles.commanded):
                decoded = reader.decode(message)
                pose = pose_of(decoded.pose)
                time = stamp_seconds(decoded) - reader.start_ns * 1e-9
                tracks.setdefault(message.topic, []).append(
                    (time, [*map(float, pose.position), *map(float, pose.quaternion)])
                )
            elif message.topic == roles.gripper:
                decoded = reader.decode(message)
                if len(decoded.position) >= 2:
                    width = float(decoded.position[0] + decoded.position[1])
                    time = stamp_seconds(decoded) - reader.start_ns * 1e-9
                    tracks.setdefault(message.topic, []).append((time, [width]))
            elif message.topic == roles.gripper_command:
                time = (message.log_ns - reader.start_ns) * 1e-9
                value = float(reader.decode(message).data)
                tracks.setdefault(message.topic, []).append((time, [value]))
        except (McapError, AttributeError, ValueError) as error:
            raise BadBag(f"{message.topic}: a message cannot be read: {error}") from error
    found.arrivals = {name: np.array(values) for name, values in arrivals.items()}
    found.stamps = {name: np.array(values) for name, values in stamps.items()}
    found.measured = _track(tracks.get(roles.measured), 7)
    found.commanded = _track(tracks.get(roles.commanded), 7)
    found.fingers = _track(tracks.get(roles.gripper), 1)
    found.gripper = _track(tracks.get(roles.gripper_command), 1)
    found.images = {name: _track(tracks.get(name), 1) for name in cameras if name in tracks}
    return found


def _track(entries: list[tuple[float, list[float]]] | None, columns: int) -> Track:
    if not entries:
        return empty(columns)
    return Track(np.array([t for t, _ in entries]), np.array([v for _, v in entries]))


def _stamp(data: bytes) -> float:
    """Nanoseconds of a leading header; nonsense for messages without one, which are not asked."""
    try:
        return float(read_stamp_ns(data))
    except BadCdr:
        return float("nan")
