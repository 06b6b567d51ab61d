"""Pictures on the wire: raw arrays, or JPEG where the network is slow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from molmoact_ros.policy.wire.codec import WireError
from molmoact_ros.viz.jpeg import encode_jpeg

JPEG_QUALITY = 95
"""Raw pictures give the numbers of a local policy exactly; JPEG ones nearly."""


def picture_to_wire(rgb: NDArray[np.uint8], jpeg: bool) -> Any:
    """RGB uint8 [H, W, 3] as it is, or as ``{"jpeg": bytes}``. Raises WireError."""
    if not jpeg:
        return rgb
    try:
        return {"jpeg": encode_jpeg(rgb, JPEG_QUALITY)}
    except ValueError as error:
        raise WireError(str(error)) from error


def picture_from_wire(entry: Any, max_side: int) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3]; the size is checked before a JPEG is unpacked. Raises WireError."""
    if isinstance(entry, np.ndarray):
        if entry.dtype != np.uint8 or entry.ndim != 3 or entry.shape[2] != 3:
            raise WireError(
                f"a picture is {entry.dtype} {list(entry.shape)}; send RGB uint8 [height, width, 3]"
            )
        _check_size(entry.shape[1], entry.shape[0], max_side)
        return entry
    if isinstance(entry, dict) and entry.keys() == {"jpeg"} and isinstance(entry["jpeg"], bytes):
        return _from_jpeg(entry["jpeg"], max_side)
    raise WireError('a picture is no array; send RGB uint8 [height, width, 3] or {"jpeg": bytes}')


def _from_jpeg(data: bytes, max_side: int) -> NDArray[np.uint8]:
    try:
        # Opening reads the header only; no other format's decoder is reachable.
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            _check_size(*image.size, max_side)
            if image.mode != "RGB":
                raise WireError(f"a JPEG picture is {image.mode}; send colour pictures")
            return np.asarray(image, dtype=np.uint8)
    except WireError:
        raise
    # Pillow reports damage in any of these ways.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise WireError(f"a JPEG picture is damaged ({error}); send it again") from None


def _check_size(width: int, height: int, max_side: int) -> None:
    if min(width, height) < 1 or max(width, height) > max_side:
        raise WireError(
            f"a picture has {width}x{height} pixels; send 1 to {max_side} pixels a side"
        )
