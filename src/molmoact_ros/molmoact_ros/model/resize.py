"""The two ways pictures are resized for MolmoAct, without torchvision.

The SigLIP way rounds to whole grey levels, so one ulp decides a pixel. torch's own kernel gives
different ulps with another number of threads or another CPU; ours is plain numpy and repeats the
rounding steps of the reference recordings on every machine.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats32 = NDArray[np.float32]

CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
"""RGB statistics OpenAI CLIP was trained with (open_clip constants)."""


def stretch(
    picture: NDArray[np.uint8], height: int, width: int
) -> tuple[Floats32, NDArray[np.bool_]]:
    """SigLIP style (7B-D): ignore the aspect ratio, values -1..1.

    RGB uint8 [H, W, 3] to float32 [height, width, 3] and a mask [height, width], all True.
    Bilinear without antialiasing, rounded to whole grey levels before the scaling.
    """
    pixels = picture
    if picture.shape[:2] != (height, width):
        resized = _bilinear(picture.astype(np.float32), height, width)
        pixels = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    unit = pixels.astype(np.float32) / np.float32(255)
    mask = np.ones((height, width), dtype=np.bool_)
    return np.float32(-1) + unit * np.float32(2), mask


def letterbox(
    picture: NDArray[np.uint8], height: int, width: int
) -> tuple[Floats32, NDArray[np.bool_]]:
    """CLIP style (7B-O): keep the aspect ratio, centre on black, normalise padding as well.

    Shapes as ``stretch``; the mask is True where the picture is. Raises ValueError for a picture
    so narrow that nothing of it would remain.
    """
    high, wide = picture.shape[:2]
    scale = min(np.float32(width) / np.float32(wide), np.float32(height) / np.float32(high))
    new_high, new_wide = int(np.float32(high) * scale), int(np.float32(wide) * scale)
    if new_high < 1 or new_wide < 1:
        raise ValueError(
            f"a picture of {wide}x{high} pixels is too narrow for {width}x{height}; crop it first"
        )
    planes = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
    resized = functional.interpolate(
        planes, (new_high, new_wide), mode="bilinear", align_corners=False, antialias=True
    )
    top, left = (height - new_high) // 2, (width - new_wide) // 2
    out = np.zeros((height, width, 3), dtype=np.float32)
    mask = np.zeros((height, width), dtype=np.bool_)
    place = np.s_[top : top + new_high, left : left + new_wide]
    out[place] = resized.clamp(0, 1)[0].permute(1, 2, 0).numpy()
    mask[place] = True
    return (out - CLIP_MEAN) / CLIP_STD, mask


def _bilinear(picture: Floats32, height: int, width: int) -> Floats32:
    """Bilinear without antialiasing, corners not aligned: columns first, then rows."""
    low, high, weight = _taps(picture.shape[1], width)
    wide = _mix(picture[:, low], picture[:, high], weight[:, None])
    low, high, weight = _taps(picture.shape[0], height)
    return _mix(wide[low], wide[high], weight[:, None, None])


def _taps(size: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats32]:
    """For each of ``new`` positions its two neighbours among ``size`` and the second's weight."""
    scale = np.float64(np.float32(size) / np.float32(new))
    source = (scale * (np.arange(new) + 0.5) - 0.5).astype(np.float32)
    source = np.maximum(source, np.float32(0))
    low = np.minimum(source.astype(np.int64), size - 1)
    weight = np.clip(source - low.astype(np.float32), np.float32(0), np.float32(1))
    return low, np.minimum(low + 1, size - 1), weight


def _mix(first: Floats32, second: Floats32, weight: Floats32) -> Floats32:
    """first * (1 - weight) + second * weight, as one fused multiply-add after one product.

    A float32 product is exact in float64, so the sum below rounds once, like the instruction.
    """
    share = (np.float32(1) - weight).astype(np.float64)
    mixed: Floats32 = (first * share + second * weight).astype(np.float32)
    return mixed
