"""The two ways pictures are resized for MolmoAct, without torchvision.

The SigLIP way rounds to whole grey levels, so one ulp decides a pixel. torch's own kernel gives
different ulps with another number of threads or another CPU; ours is plain numpy and repeats the
rounding steps of the reference recordings on every machine. It is quick because almost all pixels
lie far from the border between two levels: a rough sum rounds them, and only the others are
computed step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats32 = NDArray[np.float32]

CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
"""RGB statistics OpenAI CLIP was trained with (open_clip constants)."""


GREY_LEVELS: Floats32 = np.float32(-1) + np.arange(256, dtype=np.float32) / np.float32(
    255
) * np.float32(2)
"""The value -1..1 of every grey level, in the reference's order of rounding."""

_DOUBT = np.float32(1e-3)
"""Grey levels; the rough sum errs by less than a tenth of this (255 * a few float32 ulps)."""


def stretch(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """SigLIP style (7B-D): ignore the aspect ratio; RGB uint8 [H, W, 3] to [height, width, 3].

    Bilinear without antialiasing, rounded to whole grey levels (half to even). ``GREY_LEVELS``
    turns levels into what the network reads.
    """
    if picture.shape[:2] == (height, width):
        return picture
    columns, rows = _taps(picture.shape[1], width), _taps(picture.shape[0], height)
    rough = _rough(picture, columns, rows)
    rough += np.float32(0.5) - _DOUBT
    levels: NDArray[np.uint8] = rough.astype(np.uint8)
    rough += 2 * _DOUBT
    doubtful = np.flatnonzero(levels != rough.astype(np.uint8))
    levels.flat[doubtful] = _exact(picture, columns, rows, doubtful)
    return levels


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


@dataclass(frozen=True)
class _Taps:
    """For each new position its two neighbours and the second's weight (float32)."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    weight: Floats32


@lru_cache(maxsize=64)
def _taps(size: int, new: int) -> _Taps:
    """``new`` positions among ``size``, corners not aligned."""
    scale = np.float64(np.float32(size) / np.float32(new))
    source = (scale * (np.arange(new) + 0.5) - 0.5).astype(np.float32)
    source = np.maximum(source, np.float32(0))
    low = np.minimum(source.astype(np.int64), size - 1)
    weight = np.clip(source - low.astype(np.float32), np.float32(0), np.float32(1))
    return _Taps(low, np.minimum(low + 1, size - 1), weight)


def _rough(picture: NDArray[np.uint8], columns: _Taps, rows: _Taps) -> Floats32:
    """Bilinear in float32, [height, width, 3]. Whole lines are gathered: pixels one by one take
    five times as long.
    """
    high = picture.shape[0]
    # OpenCV turns pictures ten times faster than numpy copies a turned view.
    lines = np.asarray(cv2.transpose(picture), np.float32).reshape(-1, high * 3)
    wide = _blend(lines, columns).reshape(-1, high, 3)
    lines = np.asarray(cv2.transpose(wide), np.float32).reshape(high, -1)
    return _blend(lines, rows).reshape(len(rows.low), -1, 3)


def _blend(lines: Floats32, taps: _Taps) -> Floats32:
    first, second = lines[taps.low], lines[taps.high]
    second -= first
    second *= taps.weight[:, None]
    second += first
    return second


def _exact(
    picture: NDArray[np.uint8], columns: _Taps, rows: _Taps, places: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """The levels at flat ``places`` of [height, width, 3], columns first, then rows."""
    y, x, channel = np.unravel_index(places, (len(rows.low), len(columns.low), 3))
    left, right, across = columns.low[x], columns.high[x], columns.weight[x]
    top, bottom = (
        _mix(picture[line, left, channel], picture[line, right, channel], across)
        for line in (rows.low[y], rows.high[y])
    )
    return np.clip(np.rint(_mix(top, bottom, rows.weight[y])), 0, 255).astype(np.uint8)


def _mix(first: NDArray[Any], second: NDArray[Any], weight: Floats32) -> Floats32:
    """first * (1 - weight) + second * weight: the second product rounds to float32, the first is
    fused with the sum. In float64 it is exact, so the sum below rounds once, like the instruction.
    """
    share = (np.float32(1) - weight).astype(np.float64)
    mixed: Floats32 = (first * share + second * weight).astype(np.float32)
    return mixed
