"""Depth Anything on several pictures at once, which a GPU needs to be busy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from molmoact_ros.data.estimator import _MEAN, _STD, DepthAnything, input_size
from molmoact_ros.reasoning.depth_image import relative_depth_u8
from molmoact_ros.train.depth_shards import map_of


class Estimator(Protocol):
    """Relative inverse depth of pictures of one size."""

    def estimate_many(self, pictures: Sequence[NDArray[np.uint8]], /) -> NDArray[np.float32]:
        """uint8 [H, W, 3] each to float32 [N, H, W], large = near, any scale."""
        ...


class BatchedDepthAnything(DepthAnything):
    """The estimator of the labels (``data.estimator``). Raises OSError or BadModel."""

    def __init__(self, folder: Path, device: str = "") -> None:
        super().__init__(folder, device)
        self._mean = torch.from_numpy(_MEAN).to(self._device)
        self._std = torch.from_numpy(_STD).to(self._device)

    def estimate_many(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Relative inverse depth float32 [N, H, W] of uint8 [H, W, 3] each."""
        height, width = pictures[0].shape[:2]
        raw = torch.from_numpy(np.stack(pictures)).to(self._device)
        pixels = ((raw.float() / 255.0 - self._mean) / self._std).permute(0, 3, 1, 2)
        pixels = functional.interpolate(
            pixels, input_size(height, width), mode="bicubic", align_corners=False
        )
        with torch.inference_mode():
            found = self._network(pixel_values=pixels).predicted_depth
            found = functional.interpolate(
                found[:, None], (height, width), mode="bilinear", align_corners=True
            )
        return np.asarray(found[:, 0].float().cpu().numpy(), dtype=np.float32)


def estimated_maps(
    estimator: Estimator, pictures: Iterable[NDArray[np.uint8]], batch: int
) -> Iterator[NDArray[np.uint8]]:
    """Maps uint8 [320, 320] of RGB pictures uint8 [H, W, 3], ``batch`` at once."""
    source = iter(pictures)
    while some := list(islice(source, batch)):
        for depth in estimator.estimate_many(some):
            yield map_of(relative_depth_u8(depth, source="relative"))
