"""Images become what image_transport would publish: JPEG for colour, PNG for 16-bit depth.

Topics and formats are those of compressed_image_transport and compressed_depth_image_transport,
so rviz, Foxglove and ``image_transport republish`` read them. Depth stays exact: PNG is lossless.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.bags.cdr import RawImage, read_image, write_compressed_image

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
_COLOURS = {"rgb8": (3, cv2.COLOR_RGB2BGR), "bgr8": (3, None), "mono8": (1, None)}
_COLOURS |= {"rgba8": (4, cv2.COLOR_RGBA2BGR), "bgra8": (4, cv2.COLOR_BGRA2BGR)}
DEPTH_HEADER = struct.pack("<iff", 0, 0.0, 0.0)
"""compressed_depth_image_transport's ConfigHeader; its numbers matter for 32FC1 only."""

PNG_OPTIONS = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
]
"""The fastest of PNG's: a 640 x 480 depth picture takes 8 ms of a core."""


@dataclass(frozen=True)
class Codec:
    """How pictures are stored. quality: JPEG 1..100; depth: whether 16UC1 becomes PNG."""

    colour: bool = True
    quality: int = 92
    depth: bool = True


def compressed_topic(topic: str, encoding: str) -> str:
    """The name under which image_transport offers the compressed twin."""
    return f"{topic}/compressedDepth" if encoding == "16UC1" else f"{topic}/compressed"


def compress(data: bytes, codec: Codec) -> tuple[str, bytes] | None:
    """A serialized Image as (encoding, serialized CompressedImage); None: keep it as it is.

    None for encodings that JPEG or PNG cannot hold. Raises BadCdr when it is no Image.
    """
    image = read_image(data)
    if image.encoding == "16UC1":
        return _depth(image) if codec.depth else None
    if image.encoding not in _COLOURS or not codec.colour:
        return None
    channels, order = _COLOURS[image.encoding]
    pixels = _rows(image, channels)
    if pixels is None:
        return None
    if order is not None:
        pixels = cv2.cvtColor(pixels, order).astype(np.uint8, copy=False)
    done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, codec.quality])
    if not done:
        return None
    coded = "mono8" if channels == 1 else "bgr8"
    text = f"{image.encoding}; jpeg compressed {coded}"
    return image.encoding, write_compressed_image(image.stamp_ns, image.frame, text, jpeg.tobytes())


def _depth(image: RawImage) -> tuple[str, bytes] | None:
    pixels = _rows(image, 2)
    if pixels is None:
        return None
    values = pixels.reshape(image.height, image.width * 2).view(
        np.dtype(np.uint16).newbyteorder(">" if image.big_endian else "<")
    )
    done, png = cv2.imencode(".png", values.astype(np.uint16, copy=False), PNG_OPTIONS)
    if not done:
        return None
    body = DEPTH_HEADER + png.tobytes()
    return image.encoding, write_compressed_image(
        image.stamp_ns, image.frame, "16UC1; compressedDepth png", body
    )


def _rows(image: RawImage, pixel_bytes: int) -> NDArray[np.uint8] | None:
    """[H, W, bytes] without the padding at the end of each row; None when rows are too short."""
    wanted = image.width * pixel_bytes
    if image.step < wanted:
        return None
    whole = np.frombuffer(image.data, np.uint8, image.step * image.height)
    rows = whole.reshape(image.height, image.step)[:, :wanted]
    return np.ascontiguousarray(rows).reshape(image.height, image.width, pixel_bytes)


def decode_colour(format_: str, data: bytes) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a CompressedImage. Raises ValueError when OpenCV cannot read it."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if found is None:
        raise ValueError(f"{len(data)} bytes of format '{format_}' are no picture OpenCV reads")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_depth(format_: str, data: bytes) -> NDArray[np.uint16]:
    """Millimetres uint16 [H, W] of a compressedDepth PNG. Raises ValueError."""
    body = np.frombuffer(data, np.uint8)[len(DEPTH_HEADER) :]
    found = cv2.imdecode(body, cv2.IMREAD_UNCHANGED) if body.size else None
    if found is None or found.dtype != np.uint16 or found.ndim != 2:
        raise ValueError(f"{len(data)} bytes of format '{format_}' are no 16-bit depth picture")
    return np.asarray(found, dtype=np.uint16)
