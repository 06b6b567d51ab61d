"""Single messages of a bag as numbers and pictures."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from molmoact_ros.bags.cdr import CdrReader, read_image
from molmoact_ros.data.recording import BadEpisode, Picture
from molmoact_ros.geometry import Pose

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_ARM_JOINT = re.compile(r"(?!.*finger).*joint_?([1-7])$")


def picture_of(type_: str, data: bytes) -> tuple[int, Picture]:
    """Stamp of the header in ns (0: not set) and the picture. Raises BadEpisode or BadCdr."""
    if type_ == IMAGE:
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


def stamp_of(message: Any) -> int:
    """Of its header in ns; 0 where there is none or it was not set."""
    if not hasattr(message, "header"):
        return 0
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def pose_of(position: Any, rotation: Any) -> Pose:
    """Raises BadEpisode for numbers that are no pose."""
    quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)
    norm = float(np.linalg.norm(quaternion))
    place = np.array([position.x, position.y, position.z], dtype=np.float64)
    if not np.isfinite(place).all() or not 0.5 < norm < 2.0:
        raise BadEpisode(f"a pose is not finite or has no rotation ({place}, |q| = {norm:.2f})")
    return Pose(place, quaternion / norm)


def arm_joints(message: Any) -> list[float]:
    """Angles of joints 1 to 7 in rad, by name where the message names them; [] without all."""
    positions = [float(value) for value in message.position]
    names = [_ARM_JOINT.match(str(name)) for name in message.name]
    if not names:
        return positions[:7] if len(positions) >= 7 else []
    found = {
        int(match[1]): angle
        for match, angle in zip(names, positions, strict=False)
        if match is not None
    }
    return [found[number] for number in range(1, 8)] if len(found) == 7 else []
