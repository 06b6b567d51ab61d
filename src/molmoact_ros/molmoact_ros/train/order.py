"""Which sample comes when: a function of (seed, position) alone.

Position p counts samples since the start of training, over all processes. So a run continues at
the same sample after a crash and with another number of processes, and all it must remember is one
whole number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.rows import BadData
from molmoact_ros.train.recipe import BadRecipe

EPOCH_STRIDE = 1771


class Order:
    """Sources of ``sizes`` items. One source is permuted anew each epoch; several are drawn from
    with probability ``weights`` (default: the square root of their size), with replacement.
    """

    def __init__(
        self, sizes: Sequence[int], seed: int, weights: Sequence[float] | None = None
    ) -> None:
        if not sizes or min(sizes) < 1:
            raise BadData(f"data sets hold {list(sizes)} samples; each needs at least one")
        chances = np.asarray(weights if weights is not None else np.sqrt(sizes), dtype=np.float64)
        if chances.shape != (len(sizes),) or chances.min() < 0 or chances.sum() <= 0:
            raise BadRecipe(f"weights {chances.tolist()} do not fit {len(sizes)} data sets")
        self._sizes = list(sizes)
        self._seed = seed
        self._ends = np.cumsum(chances / chances.sum())
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.zeros(0, np.int64)

    def at(self, position: int) -> tuple[int, int]:
        """Source and item of a position."""
        if len(self._sizes) == 1:
            epoch, place = divmod(position, self._sizes[0])
            if epoch != self._epoch:
                rng = np.random.default_rng(self._seed + EPOCH_STRIDE * epoch)
                self._permutation, self._epoch = rng.permutation(self._sizes[0]), epoch
            return 0, int(self._permutation[place])
        rng = np.random.default_rng([self._seed, position])
        source = min(int(np.searchsorted(self._ends, rng.random())), len(self._sizes) - 1)
        return source, int(rng.integers(self._sizes[source]))

    def generator(self, position: int) -> np.random.Generator:
        """For everything random about the visit: kind of sample, crop, colours, dropout."""
        return np.random.default_rng([self._seed, 1, position])


def share(step: int, batch: int, rank: int, world: int) -> range:
    """Positions of one process at one step: a contiguous part of the global batch.

    Raises BadRecipe when the batch cannot be divided evenly.
    """
    if batch % world:
        raise BadRecipe(
            f"a batch of {batch} cannot be shared by {world} processes; choose a "
            "multiple of the number of processes"
        )
    first = step * batch + rank * (batch // world)
    return range(first, first + batch // world)
