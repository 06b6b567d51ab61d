"""RGB to JPEG, the one format that every screen takes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def check_image(rgb: NDArray[np.uint8]) -> None:
    """Raises ValueError unless ``rgb`` is uint8 [H, W, 3] or [H, W] and holds pixels."""
    if (
        rgb.dtype != np.uint8
        or rgb.size == 0
        or not (rgb.ndim == 2 or (rgb.ndim == 3 and rgb.shape[2] == 3))
    ):
        raise ValueError(
            f"image is {rgb.dtype} {rgb.shape}, expected uint8 [H, W, 3] RGB or [H, W]; convert it"
        )


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = 82) -> bytes:
    """JPEG of RGB uint8 [H, W, 3] or mono8 [H, W]. Raises ValueError on other arrays."""
    check_image(rgb)
    ordered = rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV could not encode {rgb.shape}; JPEG holds at most 65535 a side")
    return data.tobytes()
