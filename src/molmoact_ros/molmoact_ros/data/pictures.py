"""Stored pictures to arrays and back: JPEG, PNG and raw, colour and depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.bags.pictures import decode_depth
from molmoact_ros.data.recording import BadEpisode, Picture

MILLIMETRE = np.float32(1e-3)


def rgb_of(picture: Picture) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3]. Raises BadEpisode for a damaged picture."""
    if picture.kind in ("rgb8", "bgr8"):
        height, width = picture.shape
        if len(picture.data) != height * width * 3:
            raise BadEpisode(
                f"a picture of {width}x{height} holds {len(picture.data)} bytes; the camera driver "
                "sent half a frame, record again"
            )
        array = np.frombuffer(picture.data, np.uint8).reshape(height, width, 3)
        return np.ascontiguousarray(array if picture.kind == "rgb8" else array[..., ::-1])
    return decode_jpeg(picture.data)


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of JPEG or PNG bytes. Raises BadEpisode."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if found is None:
        raise BadEpisode(f"{len(data)} bytes are no picture; the recording is damaged")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def encode_jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG of RGB uint8 [H, W, 3]."""
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV cannot write a picture of shape {rgb.shape} as JPEG")
    return bytes(data.tobytes())


def metres_of(picture: Picture) -> NDArray[np.float32]:
    """Depth float32 [H, W] in metres, 0 where unknown. Raises BadEpisode."""
    if picture.kind == "depth16":
        height, width = picture.shape
        if len(picture.data) != height * width * 2:
            raise BadEpisode(f"a depth picture of {width}x{height} holds {len(picture.data)} bytes")
        values = np.frombuffer(picture.data, "<u2").reshape(height, width)
        return values.astype(np.float32) * MILLIMETRE
    try:
        return decode_depth(picture.kind, picture.data).astype(np.float32) * MILLIMETRE
    except ValueError as error:
        raise BadEpisode(f"depth: {error}; the recording is damaged") from error
