"""Episodes made without a robot: serialized messages, written the way the recorder writes them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from molmoact_ros.bags.cdr import CdrWriter
from molmoact_ros.bags.definitions import load_definition
from molmoact_ros.bags.metadata import Topic

T0 = 1_800_000_000 * 10**9
"""Nanoseconds; a round moment in 2027."""


def topic(name: str, type_: str, **qos: object) -> Topic:
    return Topic(name, type_, load_definition(type_).hash, **qos)  # type: ignore[arg-type]


def image(stamp_ns: int, rgb: np.ndarray, encoding: str = "rgb8", frame: str = "camera") -> bytes:
    """A serialized sensor_msgs/Image of ``rgb`` [H, W(, C)]."""
    step = rgb.strides[0]
    writer = CdrWriter().header(stamp_ns, frame).uint32(rgb.shape[0]).uint32(rgb.shape[1])
    return writer.string(encoding).uint8(0).uint32(step).octets(rgb.tobytes()).bytes()


def photo(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture with some noise; another for every seed."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 3 + seed, y * 4, x + y + 2 * seed], axis=-1) % 256
    noise = np.random.default_rng(seed).normal(0, 2, base.shape)
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def text(value: str) -> bytes:
    """A serialized std_msgs/String."""
    return CdrWriter().string(value).bytes()


def wait_until(condition, seconds: float = 10.0) -> bool:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def read_all(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Topic -> (log time, bytes), read by the `rosbags` package, which checks every type hash."""
    from rosbags.highlevel import AnyReader

    found: dict[str, list[tuple[int, bytes]]] = {}
    with AnyReader([folder]) as reader:
        for connection, stamp, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((stamp, bytes(data)))
    return found
