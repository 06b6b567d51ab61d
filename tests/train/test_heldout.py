"""Looking at held-out episodes: asked as the robot asks, scored in the robot's units."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.data.dataset import DataSet, Tick
from molmoact_ros.policy.view import view_of
from molmoact_ros.reasoning.actions import decode
from molmoact_ros.reasoning.thought import Thought
from molmoact_ros.train.decoding import Decoder, Spoken, as_driven, look_kind
from molmoact_ros.train.heldout import HeldOut, Stopped
from molmoact_ros.train.loading import load_network
from molmoact_ros.train.loss import Learner
from molmoact_ros.train.processes import World
from molmoact_ros.train.scores import changes, decoded_metrics, motion, trace_error
from molmoact_ros.train.stream import Source, Visits

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of

ALONE = World(0, 1, torch.device("cpu"))
RECIPE = small_recipe(look_samples=2, look_decoded=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(tmp_path_factory.mktemp("look"), RECIPE)


@pytest.fixture(scope="module")
def data(source: Source) -> DataSet:
    return DataSet(source.folders[0], "")


@pytest.fixture(scope="module")
def learner(source: Source) -> Learner:
    return Learner(load_network(source.base, source.recipe, ALONE))


def test_pictures_and_trace_are_those_of_the_robot(data: DataSet) -> None:
    """A network that was trained on nine tenths of the picture must be asked about those."""
    card = replace(data.card, center_crop=0.81, image_size=(48, 32))
    tick = replace(data.tick(0), trace=np.array([[128, 128], [64, 200], [255, 0]], np.uint8))
    seen = as_driven(tick, card)
    wanted = view_of(card.travelling).seen(tick.pictures)
    assert [p.shape for p in seen.pictures] == [(32, 48, 3)] * 2
    assert all(np.array_equal(a, b) for a, b in zip(seen.pictures, wanted, strict=True))
    assert not np.array_equal(seen.pictures[0], as_driven(tick, data.card).pictures[0])
    assert seen.trace is not None
    back = view_of(card.travelling).in_whole_picture(seen.trace.astype(np.float32))
    assert np.abs(back - [[128, 128], [64, 200]]).max() < 0.6, "the last point is cut off"
    fixed = as_driven(tick, replace(card, crop_moves_trace=False))
    assert np.array_equal(fixed.trace, tick.trace)


def test_a_trace_that_begins_outside_is_no_reasoning(data: DataSet) -> None:
    card = replace(data.card, center_crop=0.5)
    tick = as_driven(replace(data.tick(0), trace=np.array([[1, 1]], np.uint8)), card)
    assert look_kind(tick, RECIPE) == "act"


@pytest.mark.parametrize(
    ("shares", "kind"),
    [({}, "reason"), ({"reason": 0.0}, "steer"), ({"reason": 0.0, "act": 1.0}, "act")],
)
def test_what_is_trained_is_what_is_asked(
    data: DataSet, shares: dict[str, float], kind: str
) -> None:
    assert look_kind(data.tick(0), small_recipe(**shares)) == kind
    assert look_kind(replace(data.tick(0), depth=None), small_recipe(**shares)) == kind


def test_truth_scores_nothing_and_refusals_are_counted(data: DataSet) -> None:
    ticks = [data.tick(0), data.tick(1), data.tick(2)]

    def answer(tick: Tick) -> Spoken:
        if tick is ticks[1]:
            return Spoken(None, False, 10, 1.0)
        actions = data.statistics.unnormalise(decode(tick.bins))
        assert tick.depth is not None and tick.trace is not None
        trace = tick.trace.astype(np.float32)
        thought = Thought("", tick.depth.reshape(10, 10), trace, actions)
        return Spoken(thought, tick is ticks[0], 40, 1.0)

    found = decoded_metrics(answer, data, ticks)
    assert found["first_mm"] == found["last_yaw_deg"] == found["trace_units"] == 0.0
    assert found["depth_codes"] == 1.0 and found["tokens_s"] == 30.0
    assert found["refused"] == pytest.approx(2 / 3), "what only the grammar made readable counts"
    assert found["refused_held"] == pytest.approx(1 / 3)


def test_errors_stand_at_their_row_and_dimension() -> None:
    truth = np.zeros((8, 7))
    said = truth.copy()
    said[0, 1], said[7, 5], said[3, 0] = 0.004, np.radians(3.0), 0.016
    found = motion(said, truth)
    assert found["first_y_mm"] == pytest.approx(4.0) and found["last_y_mm"] == 0.0
    assert found["last_yaw_deg"] == pytest.approx(3.0) and found["last_deg"] == pytest.approx(1.0)
    assert found["first_deg"] == 0.0 and found["chunk_mm"] == pytest.approx(20.0 / 24)
    assert found["end_mm"] == pytest.approx(20.0 / 3)
    joints = motion(np.ones((8, 9)), np.zeros((8, 9)))
    assert joints["first_d8"] == 1.0 and "first_mm" not in joints


def test_a_gripper_may_be_late_or_not_move_at_all() -> None:
    wanted = np.array([[0], [0], [0], [1], [1], [1]], bool)
    late = np.array([[0], [0], [0], [0], [0], [1]], bool)
    assert changes(late, wanted) == {"change_missed": 0.0, "change_ticks": 2.0}
    assert changes(~late, wanted) == {"change_missed": 1.0}, "it opens where it should close"
    assert changes(np.zeros_like(wanted), wanted) == {"change_missed": 1.0}
    assert changes(late, np.zeros_like(wanted)) == {}


def test_traces_of_different_length_are_compared_evenly() -> None:
    truth = np.array([[0, 0], [10, 0], [20, 0]], np.uint8)
    assert trace_error(np.array([[0, 3], [20, 3]], np.float32), truth) == pytest.approx(3.0)


@pytest.mark.parametrize("depth", [True, False])
def test_babble_is_refused_freely_and_readable_under_the_grammar(
    source: Source, data: DataSet, learner: Learner, depth: bool
) -> None:
    """An untrained network cannot write an answer; the grammar must not hide that."""
    decoder = Decoder(learner.network, Visits(source).reading, data, RECIPE)
    tick = data.tick(0)
    spoken = decoder.answer(tick if depth else replace(tick, depth=None))
    assert not spoken.free and spoken.thought is not None
    assert (spoken.thought.depth is not None) == depth
    assert spoken.thought.actions.shape == (8, 7)
    assert spoken.tokens > 200 and spoken.seconds > 0.0


def test_every_set_of_a_mixture_is_looked_at(
    source: Source, learner: Learner, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(source.folders[0], other)
    both = replace(source, folders=(*source.folders, other))
    both = replace(both, recipe=replace(RECIPE, look_decoded=0))
    alone = HeldOut(replace(both, folders=source.folders), learner, ALONE).look(lambda: False)
    found = HeldOut(both, learner, ALONE).look(lambda: False)
    assert found["loss@other"] == found["loss@data"] == found["loss"] == alone["loss"]
    assert "loss@data" not in alone and learner.training
    second = replace(ALONE, rank=1)
    assert HeldOut(both, learner, second).look(lambda: False) == {}


def test_a_look_ends_when_the_run_shall(source: Source, learner: Learner) -> None:
    answers = iter([False, True])
    with pytest.raises(Stopped):
        HeldOut(source, learner, ALONE).look(partial(next, answers))
    assert learner.training
