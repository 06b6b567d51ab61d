"""Batches of depth maps in the order of ``train.order``, decoded ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.train.depth_shards import DepthMaps
from molmoact_ros.train.order import Order, share
from molmoact_ros.train.processes import World

AHEAD = 4
"""Batches in memory."""


def map_batches(
    maps: DepthMaps, seed: int, first_step: int, batch: int, world: World, threads: int
) -> Generator[NDArray[np.uint8]]:
    """Without end: this process's part of each step's batch, uint8 [batch / processes, 320, 320].

    Which maps a step sees depends on seed and step alone. Raises ValueError where processes cannot
    share the batch, BadData for a damaged shard.
    """
    order = Order([len(maps)], seed)
    steps = count(first_step)
    with ThreadPoolExecutor(max(1, threads)) as pool:

        def started(step: int) -> list[Future[NDArray[np.uint8]]]:
            positions = share(step, batch, world.rank, world.size)
            return [pool.submit(maps.__getitem__, order.at(p)[1]) for p in positions]

        coming = deque(started(step) for step in islice(steps, AHEAD))
        try:
            while True:
                yield np.stack([future.result() for future in coming.popleft()])
                coming.append(started(next(steps)))
        finally:
            for futures in coming:
                for future in futures:
                    future.cancel()
