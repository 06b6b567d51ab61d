"""Which topic of a bag is which input of a policy, and its messages as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.pictures import decode_colour, decode_depth
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.geometry import Camera, Floats, Pose


@dataclass(frozen=True)
class Roles:
    """Topic names without the suffix that compression adds."""

    external: str = "/cameras/external/color/image_raw"
    wrist: str = "/cameras/wrist/color/image_raw"
    depth: str = "/cameras/external/aligned_depth_to_color/image_raw"
    camera_info: str = "/cameras/external/color/camera_info"
    measured: str = "/current_pose"
    commanded: str = "/target_pose"
    gripper: str = "/gripper/joint_states"
    gripper_command: str = "/gripper_command"
    reasoning: str = "/policy/reasoning"
    policy_status: str = "/policy/status"
    transforms: str = "/tf_static"
    base_frame: str = "fr3_link0"


def stored_name(reader: BagReader, topic: str) -> str | None:
    """The topic as it was stored: raw or compressed; None when the bag lacks it."""
    for name in (topic, f"{topic}/compressed", f"{topic}/compressedDepth"):
        if reader.counts.get(name):
            return name
    return None


def colour_of(message: Any) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a decoded Image or CompressedImage. Raises BadBag."""
    if hasattr(message, "format"):
        try:
            return decode_colour(message.format, bytes(message.data))
        except ValueError as error:
            raise BadBag(f"a picture cannot be read: {error}") from error
    orders = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2], "bgra8": [2, 1, 0]}
    if message.encoding not in (*orders, "mono8"):
        raise BadBag(f"image encoding '{message.encoding}'; record rgb8, bgr8 or mono8")
    channels = {"mono8": 1, "rgba8": 4, "bgra8": 4}.get(message.encoding, 3)
    rows = np.frombuffer(message.data, np.uint8)[: message.step * message.height]
    pixels = rows.reshape(message.height, message.step)[:, : message.width * channels]
    picture = pixels.reshape(message.height, message.width, channels)
    picked = picture.repeat(3, axis=2) if channels == 1 else picture[..., orders[message.encoding]]
    return np.ascontiguousarray(picked)


def depth_of(message: Any) -> NDArray[np.float32]:
    """Metres float32 [H, W], 0 unknown, of a decoded depth message. Raises BadBag."""
    if hasattr(message, "format"):
        try:
            return decode_depth(message.format, bytes(message.data)).astype(np.float32) * 1e-3
        except ValueError as error:
            raise BadBag(f"a depth picture cannot be read: {error}") from error
    kinds = {"16UC1": (np.uint16, 1e-3), "32FC1": (np.float32, 1.0)}
    if message.encoding not in kinds:
        raise BadBag(f"depth encoding '{message.encoding}'; record 16UC1 or 32FC1")
    kind, scale = kinds[message.encoding]
    rows = np.frombuffer(message.data, np.uint8)[: message.step * message.height]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    width = message.width * dtype.itemsize
    values = np.ascontiguousarray(rows.reshape(message.height, message.step)[:, :width])
    metres = values.view(dtype).astype(np.float32) * np.float32(scale)
    return np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0)


def pose_of(message: Any) -> Pose:
    """Of a decoded geometry_msgs/Pose."""
    p, q = message.position, message.orientation
    return Pose(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))


def transform_of(message: Any) -> Floats:
    """parent_from_child [4, 4] of a decoded geometry_msgs/Transform."""
    t, q = message.translation, message.rotation
    return Pose(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w])).matrix


def camera_of(info: Any, base_from_optical: Floats) -> Camera:
    """Of a decoded CameraInfo. Raises BadBag when it holds no calibration."""
    k = [float(value) for value in info.k]
    if k[0] <= 0 or k[4] <= 0 or not info.width or not info.height:
        raise BadBag(f"camera_info of {info.header.frame_id} has no focal length; calibrate it")
    size = int(info.width), int(info.height)
    return Camera(*size, k[0], k[4], k[2], k[5], base_from_optical)


def codes_of(message: Any) -> NDArray[np.uint8] | None:
    """Depth codes uint8 [rows, cols] of a decoded DepthTokens; None when it is empty."""
    if not message.rows or message.rows * message.cols != len(message.codes):
        return None
    return np.asarray(message.codes, dtype=np.uint8).reshape(message.rows, message.cols)


def codebook_named(message: Any) -> str:
    """Whose codes a decoded DepthTokens holds; empty in bags that are older than the field."""
    return str(getattr(message, "codebook", ""))


def rows_of(message: Any) -> Floats:
    """Rows [N, D] of a decoded ActionChunk; [0, 7] when it is empty."""
    columns = len(message.names)
    if not message.rows or message.rows * columns != len(message.data):
        return np.zeros((0, 7))
    return np.asarray(message.data, dtype=np.float64).reshape(message.rows, columns)


def trace_of(message: Any) -> NDArray[np.float32]:
    """float32 [L, 2] on the 0..255 grid of a decoded VisualTrace."""
    points = [[p.x, p.y] for p in message.points]
    return np.array(points, dtype=np.float32).reshape(-1, 2)
