"""Depth maps of colour pictures, estimated several at once, which a GPU needs to be busy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.reasoning.depth_image import relative_depth_u8
from molmoact_ros.train.depth_shards import map_of


class Estimator(Protocol):
    """Relative inverse depth of pictures of one size."""

    def estimate_many(self, pictures: Sequence[NDArray[np.uint8]], /) -> NDArray[np.float32]:
        """uint8 [H, W, 3] each to float32 [N, H, W], large = near, any scale."""
        ...


def estimated_maps(
    estimator: Estimator, pictures: Iterable[NDArray[np.uint8]], batch: int
) -> Iterator[NDArray[np.uint8]]:
    """Maps uint8 [320, 320] of RGB pictures uint8 [H, W, 3], ``batch`` at once."""
    source = iter(pictures)
    while some := list(islice(source, batch)):
        for depth in estimator.estimate_many(some):
            yield map_of(relative_depth_u8(depth, source="relative"))
