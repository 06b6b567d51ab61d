"""The two steps around the model that published LIBERO evaluations take.

A checkpoint trained with random crops of 0.9 of the area sees the central crop when it acts
(card field ``center_crop``), and LIBERO's gripper command is -1 open, 1 closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image


def centre_crop(rgb: NDArray[np.uint8], area: float = 0.9) -> NDArray[np.uint8]:
    """The central part of ``rgb`` [H, W, 3] with this share of the area, stretched back to [H, W].

    Raises ValueError for a share outside (0, 1] or another picture format.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ValueError(
            f"A picture must be uint8 [H, W, 3] in RGB, got {rgb.dtype} {rgb.shape}; convert the"
            " camera image first."
        )
    if not 0 < area <= 1:
        raise ValueError(f"The crop must keep a share of the area in (0, 1], got {area}.")
    height, width = rgb.shape[:2]
    inner_w, inner_h = int(width * np.sqrt(area)), int(height * np.sqrt(area))
    left, top = (width - inner_w) // 2, (height - inner_h) // 2
    part = Image.fromarray(rgb[top : top + inner_h, left : left + inner_w])
    return np.asarray(part.resize((width, height), Image.Resampling.BILINEAR))


def libero_gripper(actions: ArrayLike) -> NDArray[np.float64]:
    """Actions [..., D] with the gripper (last) from 1 open / 0 closed to LIBERO's -1 / 1.

    Exactly 0.5 becomes 0, LIBERO's "leave it".
    """
    out = np.array(actions, dtype=np.float64)
    out[..., -1] = -np.sign(2.0 * out[..., -1] - 1.0)
    return out
