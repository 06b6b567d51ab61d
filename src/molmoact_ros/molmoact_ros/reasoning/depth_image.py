"""Depth maps to the pictures the depth VQ-VAE reads, and its output to a picture for people.

The VQ-VAE was trained on relative inverse depth (near = bright) from Depth Anything V2, stretched
to 0..255 frame by frame. Because of that stretch, 1/z of a sensor is the same quantity up to noise
and holes. Source: MolmoAct paper (arXiv 2508.07917) section 3.1 and its public label pipeline.
"""

from __future__ import annotations

from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

VQVAE_SIZE: Final = 320
HOLE_REACH: Final = 15.0
"""Pixels over which a hole takes the nearest measurement; beyond it the frame's median."""

_LOW, _HIGH = 0.5, 99.5


def relative_depth_u8(
    depth: NDArray[np.floating], source: Literal["sensor", "relative"]
) -> NDArray[np.uint8]:
    """One depth map [H, W] to uint8 [H, W], bright = near, stretched over this frame's range.

    source "sensor": metres along the optical axis, holes 0 or NaN, registered to the picture.
    source "relative": relative inverse depth of an estimator, finite everywhere. A flat map is all
    zero. Raises ValueError for another shape, no valid depth, or NaN in an estimate.
    """
    if depth.ndim != 2 or not depth.size:
        raise ValueError(f"A depth map has shape [H, W], got {depth.shape}; pass one frame.")
    if source == "sensor":
        inverse = 1.0 / _clean_metres(depth.astype(np.float32))
    elif source == "relative":
        inverse = depth.astype(np.float32)
    else:
        raise ValueError(f"Unknown depth source {source!r}; use 'sensor' or 'relative'.")
    if not np.isfinite(inverse).all():
        raise ValueError(
            "The depth map holds NaN or infinity; repair the estimator or pass source='sensor'."
        )
    low, high = inverse.min(), inverse.max()
    # float32 throughout and truncation, not rounding: the training labels were made this way.
    return np.asarray((inverse - low) / (high - low + np.float32(1e-8)) * 255.0, dtype=np.uint8)


def vqvae_input(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A depth picture uint8 [H, W] to the network's input float32 [1, 1, 320, 320] in 0..1.

    PIL bilinear with antialias, aspect ignored. Raises ValueError for another shape or type.
    """
    if picture.ndim != 2 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(
            f"A depth picture is uint8 [H, W], got {picture.dtype} {picture.shape}; make one with"
            " relative_depth_u8."
        )
    side = (VQVAE_SIZE, VQVAE_SIZE)
    small = np.asarray(Image.fromarray(picture).resize(side, Image.Resampling.BILINEAR))
    return small.astype(np.float32)[None, None] / np.float32(255.0)


def display_u8(decoded: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A decoded depth picture (any shape, any range) stretched to uint8 for people, same shape.

    Raises ValueError for NaN or infinity.
    """
    if not decoded.size or not np.isfinite(decoded).all():
        raise ValueError("The decoded depth is empty or not finite; check the VQ-VAE weights.")
    values = decoded.astype(np.float32)
    low, high = values.min(), values.max()
    span = high - low if high > low else np.float32(1.0)
    return np.asarray((values - low) / span * np.float32(255.0) + np.float32(0.5), dtype=np.uint8)


def _clean_metres(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Holes filled and extremes clamped; every value is positive afterwards."""
    valid = np.isfinite(depth) & (depth > 0)
    if not valid.any():
        raise ValueError(
            "The depth frame has no valid pixel; check that the depth camera is running and"
            " aligned to the colour picture."
        )
    filled = depth if valid.all() else _fill_holes(depth, valid)
    near, far = np.percentile(filled, (_LOW, _HIGH))
    return np.clip(filled, np.float32(near), np.float32(far))


def _fill_holes(depth: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    # The 5 x 5 distance mask is off by at most 2 %, which only moves the 15-pixel rim.
    distance, label = cv2.distanceTransformWithLabels(
        np.uint8(~valid), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    measured = np.zeros(int(label.max()) + 1, dtype=np.float32)
    measured[label[valid]] = depth[valid]
    nearest = measured[label]
    median = np.float32(np.median(depth[valid]))
    return np.where(valid, depth, np.where(distance <= HOLE_REACH, nearest, median))
