"""One picture of a stream, encoded when the first page asks for it."""

from __future__ import annotations

import threading
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.viz.jpeg import encode_jpeg


class Stream(IntEnum):
    """Picture streams; the number is the first byte of a binary WebSocket frame."""

    EXTERNAL = 1
    WRIST = 2
    DEPTH = 3
    PREVIEW = 4


LIVE = (Stream.EXTERNAL, Stream.WRIST, Stream.DEPTH)
"""Streams that are sent by themselves; a preview only answers a pen."""


class Picture:
    """One picture of a stream: RGB [H, W, 3] or mono8 [H, W], encoded once, on first use."""

    def __init__(self, number: int, stamp: float, rgb: NDArray[np.uint8], quality: int) -> None:
        self.number = number
        self.stamp = stamp
        self._rgb = rgb
        self._quality = quality
        self._jpeg: bytes | None = None
        self._lock = threading.Lock()

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The pixels; not to be changed."""
        return self._rgb

    def jpeg(self) -> bytes:
        """The JPEG. The first call works for some milliseconds: keep it off an event loop."""
        with self._lock:
            if self._jpeg is None:
                self._jpeg = encode_jpeg(self._rgb, self._quality)
            return self._jpeg
