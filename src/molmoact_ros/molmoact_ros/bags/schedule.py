"""Playing a bag in time: when each message is due, and how it looks when it is played.

Commands are left out unless asked for: a played bag must not move an arm by accident.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from molmoact_ros.bags.cdr import CdrReader, CdrWriter
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.pictures import COMPRESSED, IMAGE, decode_colour, decode_depth
from molmoact_ros.bags.reader import BagMessage

COMMANDS = ("/target_pose", "/target_twist", "/gripper_command", "/policy/chunk", "/teleop/")
"""Topics, or beginnings of them, that make an arm move."""
SUFFIXES = ("/compressedDepth", "/compressed")


def moves_an_arm(topic: str) -> bool:
    return any(topic == name or (name.endswith("/") and topic.startswith(name))
               for name in COMMANDS)  # fmt: skip


@dataclass(frozen=True)
class Playback:
    """rate: 1 real time, 2 twice as fast. start: seconds into the bag."""

    rate: float = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0.01 <= self.rate <= 100.0:
            raise BadBag(f"rate {self.rate}: use 0.01..100")


def paced(
    messages: Iterable[BagMessage],
    first_ns: int,
    playback: Playback,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[BagMessage]:
    """Each message when it is due. A late player catches up; it never skips.

    first_ns: log time that is played at once.
    """
    begin = clock()
    for message in messages:
        due = begin + (message.log_ns - first_ns) * 1e-9 / playback.rate
        wait = due - clock()
        if wait > 0:
            sleep(wait)
        yield message


def original_name(topic: str) -> str:
    """The topic before compression."""
    for suffix in SUFFIXES:
        if topic.endswith(suffix):
            return topic.removesuffix(suffix)
    return topic


def expanded(message: BagMessage) -> BagMessage:
    """A CompressedImage as the Image it was made of; everything else as it is. Raises BadBag."""
    if message.type != COMPRESSED:
        return message
    reader = CdrReader(message.data)
    stamp_ns = reader.int32() * 10**9 + reader.uint32()
    frame, format_ = reader.string(), reader.string()
    data = bytes(reader.octets())
    encoding = format_.split(";")[0].strip() or "rgb8"
    try:
        if "compressedDepth" in format_:
            pixels = decode_depth(format_, data).view(np.uint8)
            encoding, width = "16UC1", pixels.shape[1] // 2
        else:
            rgb = decode_colour(format_, data)
            width = rgb.shape[1]
            pixels, encoding = _encoded(rgb, encoding)
    except ValueError as error:
        raise BadBag(f"{message.topic}: {error}") from error
    height = pixels.shape[0]
    writer = CdrWriter().header(stamp_ns, frame).uint32(height).uint32(width)
    writer.string(encoding).uint8(0).uint32(pixels.nbytes // height).octets(pixels.tobytes())
    return BagMessage(
        original_name(message.topic), IMAGE, message.log_ns, message.publish_ns, writer.bytes()
    )


def _encoded(rgb: np.ndarray, encoding: str) -> tuple[np.ndarray, str]:
    if encoding == "mono8":
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), "mono8"
    if encoding == "bgr8":
        return np.ascontiguousarray(rgb[..., ::-1]), "bgr8"
    return rgb, "rgb8"


def restamped(data: bytes, stamp_ns: int) -> bytes:
    """The same message with the stamp of its leading header set, for policies that refuse the
    past. Only for types whose first field is a std_msgs/Header."""
    order = "little" if data[1] == 1 else "big"
    sec = (stamp_ns // 10**9).to_bytes(4, order, signed=True)  # type: ignore[arg-type]
    nanosec = (stamp_ns % 10**9).to_bytes(4, order)  # type: ignore[arg-type]
    return data[:4] + sec + nanosec + data[12:]
