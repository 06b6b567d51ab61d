"""The model policy hands out the parts of a thought while the rest is being decoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.engine.reader import Part
from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.policy.base import Observation, Segment, StreamingPolicy
from molmoact_ros.policy.model_units import segment_of
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.reasoning.answer import AnswerContract
from molmoact_ros.reasoning.statistics import ActionStatistics
from molmoact_ros.reasoning.thought import ThoughtRefused

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> MolmoActPolicy:
    folder: Path = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=0)
    return MolmoActPolicy(folder, prepares=True)


def seen(**more) -> Observation:
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), dtype=np.uint8)
    return Observation(1.0, (noise[0], noise[1]), "pick up the cube", **more)


def streamed(policy: MolmoActPolicy, observation: Observation, canceled=lambda: False):
    parts: list[Segment] = []
    return policy.think_streaming(observation, canceled, parts.append), parts


def test_the_parts_are_the_thought_in_its_order(policy: MolmoActPolicy) -> None:
    assert isinstance(policy, StreamingPolicy)
    thought, parts = streamed(policy, seen())
    assert [part.kind for part in parts] == ["depth", "trace", *["row"] * 8]
    assert np.array_equal(parts[0].values, thought.depth)
    assert np.array_equal(parts[1].values, thought.trace)
    assert [part.index for part in parts[2:]] == list(range(8))
    assert np.array_equal(np.stack([part.values for part in parts[2:]]), thought.actions)


def test_a_steered_thought_streams_rows_only(policy: MolmoActPolicy) -> None:
    drawn = np.array([[10, 20], [200, 100]], np.float32)
    thought, parts = streamed(policy, seen(steering=drawn))
    assert [part.kind for part in parts] == ["row"] * 8
    assert np.array_equal(np.stack([part.values for part in parts]), thought.actions)
    # No time is booked on parts that were not written.
    assert {"prefill", "actions"} <= set(thought.timings)
    assert not {"depth", "trace"} & set(thought.timings)


def test_parts_leave_before_the_thought_is_complete(policy: MolmoActPolicy) -> None:
    """Else an operator would see the depth map only when the arm already moves."""
    parts: list[Segment] = []
    with pytest.raises(ThoughtRefused, match="canceled"):
        policy.think_streaming(seen(), lambda: bool(parts), parts.append)
    assert [part.kind for part in parts] == ["depth"]


CONTRACT = AnswerContract(
    ActionStatistics(-np.ones(7) * 0.1, np.ones(7) * 0.1, np.array([True] * 6 + [False]))
)


def test_rows_are_in_the_units_of_a_thought() -> None:
    row = segment_of(Part("row", 3, (0, 255, 127, 127, 127, 127, 255)), CONTRACT)
    assert row is not None and row.index == 3
    assert row.values[:3] == pytest.approx([-0.0996, 0.0996, 0.0], abs=1e-4)
    assert row.values[6] == 1.0
    closed = segment_of(Part("row", 0, (127,) * 7), CONTRACT)
    assert closed is not None and closed.values[6] == 0.0


@pytest.mark.parametrize(
    "part",
    [
        Part("row", 8, (1,) * 7),
        Part("row", 0, (1,) * 6),
        Part("depth", 0, ()),
        Part("trace", 1, (1, 2)),
        Part("trace", 0, ()),
    ],
)
def test_what_no_thought_could_hold_is_not_shown(part: Part) -> None:
    """A page that trusts the shape of a row must never receive another one."""
    assert segment_of(part, CONTRACT) is None


def test_pictures_prepared_ahead_give_the_same_thought(policy: MolmoActPolicy) -> None:
    """Prepared pictures of another moment, or without the drawn line, must not be looked at."""
    asked = seen()
    expected = policy.think(asked, lambda: False)
    policy.prepare(asked)
    assert np.array_equal(policy.think(asked, lambda: False).actions, expected.actions)
    dark = Observation(2.0, tuple(np.zeros_like(i) for i in asked.images), asked.instruction)
    policy.prepare(dark)
    assert np.array_equal(policy.think(asked, lambda: False).actions, expected.actions)
    drawn = replace(asked, steering=np.array([[10, 20], [200, 100]], np.float32))
    alone = policy.think(drawn, lambda: False)
    policy.prepare(asked)
    assert np.array_equal(policy.think(drawn, lambda: False).actions, alone.actions)
