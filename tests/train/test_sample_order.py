"""The order of samples: a function of seed and position, whatever the number of processes."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.train.order import Order, share


def test_every_item_comes_once_an_epoch_and_epochs_differ() -> None:
    order = Order([17], seed=3)
    first = [order.at(p)[1] for p in range(17)]
    second = [order.at(17 + p)[1] for p in range(17)]
    assert sorted(first) == sorted(second) == list(range(17))
    assert first != second


def test_a_position_means_the_same_sample_after_a_restart() -> None:
    """Resuming needs one whole number and nothing else."""
    assert [Order([50], 1).at(p) for p in (3, 77, 140)] == [
        Order([50], 1).at(p) for p in (3, 77, 140)
    ]
    a, b = Order([50], 1).generator(9), Order([50], 1).generator(9)
    assert a.random(3).tolist() == b.random(3).tolist()


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_a_step_without_gap_or_overlap(world: int) -> None:
    positions = [p for rank in range(world) for p in share(5, 8, rank, world)]
    assert positions == list(range(40, 48))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the number of processes"):
        share(0, 6, 0, 4)


def test_several_sets_are_drawn_by_the_root_of_their_size() -> None:
    order = Order([100, 400], seed=0)
    drawn = np.array([order.at(p)[0] for p in range(3000)])
    assert abs(drawn.mean() - 2 / 3) < 0.03


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Order([10, 0], 0)
