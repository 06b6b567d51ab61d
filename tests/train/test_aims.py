"""Telling what a question is about: the right thing, only what is known, never part of a policy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molmoact_ros.data.dataset import Tick
from molmoact_ros.data.landmarks import CUBE_COUNT, NAMES
from molmoact_ros.data.landmarks import VALUES as MARK
from molmoact_ros.reasoning.actions import encode
from molmoact_ros.sim.tasks import FAMILIES, sample_instruction, sample_task
from molmoact_ros.train.aims import VALUES, Aims, aims_of, named, stacked


def tick(words: str, marks: np.ndarray | None) -> Tick:
    rows = np.zeros((8, 7), np.float32)
    rows[:, 0], rows[:, 6] = 0.5, 1.0
    pictures = (np.zeros((4, 4, 3), np.uint8),)
    flat = None if marks is None else marks.reshape(-1)
    return Tick(pictures, words, None, None, encode(rows), rows, flat)


def marks() -> np.ndarray:
    """Thing i of picture p at (0.1 i, 0.5 p), all seen."""
    out = np.zeros((2, len(NAMES), MARK), np.float32)
    out[..., 0] = 0.1 * np.arange(len(NAMES))
    out[1, :, 1], out[..., 2], out[1, :, 3] = 0.5, 1.0, np.pi / 8
    return out


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(12))
def test_the_thing_to_move_is_named_first_and_the_place_second(family: str, seed: int) -> None:
    """Whoever adds a wording with the place first must look here."""
    task = sample_task(family, seed)
    things = named(sample_instruction(family, seed))
    assert things == [task.cube] + ([task.target] if task.target else [])


def test_an_aim_is_where_the_named_things_are_and_how_to_move() -> None:
    aims = aims_of(tick("put the green cube on the plate", marks()))
    index, plate = NAMES.index("green_cube"), NAMES.index("plate")
    assert aims[0:2] == pytest.approx([0.2 * index - 1, -1.0])
    assert aims[2:4] == pytest.approx([0.2 * plate - 1, -1.0])
    assert aims[4:6] == pytest.approx([0.2 * (len(NAMES) - 1) - 1, -1.0])
    assert aims[6:8] == pytest.approx([0.2 * index - 1, 0.0])
    assert aims[8:16] == pytest.approx([0.5, 0, 0, 0, 0, 0, 1, 1], abs=0.01)
    assert aims[16:] == pytest.approx([1.0, 0.0, 1.0, index, plate], abs=1e-6)
    drawn = aims_of(tick("put the green cube on the plate", marks()), told=False)
    assert np.isnan(drawn[19:]).all(), "a drawn path counts more than the words"
    assert not np.isnan(drawn[:19]).any()


def test_what_is_not_seen_or_not_labelled_is_not_asked_for() -> None:
    hidden = marks()
    hidden[1, :CUBE_COUNT, 2] = 0.0
    aims = aims_of(tick("lift the red cube", hidden))
    assert np.isnan(aims[[2, 3, 6, 7, 17, 18]]).all() and not np.isnan(aims[[0, 1, 4, 5]]).any()
    bare = aims_of(tick("lift the red cube", None))
    assert np.flatnonzero(~np.isnan(bare)).tolist() == list(range(8, 16))
    head = Aims(8)
    wanted = torch.from_numpy(np.stack([aims, bare]))
    where, names = head(torch.ones(2, 8), torch.ones(2, 8), wanted)
    assert torch.isfinite(where) and torch.isfinite(names)
    assert float(head(torch.ones(1, 8), torch.ones(1, 8), wanted[1:])[1]) == 0.0


def test_a_batch_has_aims_only_where_every_pack_has() -> None:
    one, two = np.ones((1, VALUES), np.float32), np.ones((3, VALUES), np.float32)
    both = stacked([one, two], 3)
    assert both is not None and both.shape == (2, 3, VALUES) and torch.isnan(both[0, 1:]).all()
    assert stacked([one, None], 3) is None
