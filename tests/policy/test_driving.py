"""Rows the arm drives while a thought is made, and chunks that begin with them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.policy.base import Driving, Observation
from molmoact_ros.policy.driving import DrivenRows
from molmoact_ros.policy.goal import GoalLoop, GoalSettings
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.policy.observations import ObservationBuffer
from molmoact_ros.policy.wire.codec import WireError
from molmoact_ros.policy.wire.requests import Think, read_request, request_to_wire
from molmoact_ros.reasoning.thought import Thought

torch.set_num_threads(1)
PERIOD = 0.1
ROWS = np.arange(8.0)[:, None] * np.ones(7) * 0.001


def chunk(begin: float = 10.0, stamp: float = 10.0) -> DrivenRows:
    driven = DrivenRows(PERIOD)
    driven.accepted(ROWS, begin, stamp)
    return driven


def test_rows_before_the_image_are_executed_and_rows_after_it_are_ahead() -> None:
    found = chunk().at(10.31, thinking=0.2)
    assert found.executed == 3
    assert np.array_equal(found.ahead, ROWS[3:6])


def test_nothing_is_ahead_of_an_arm_that_stands() -> None:
    """A chunk must not begin with rows that nobody drives."""
    assert len(DrivenRows(PERIOD).at(5.0, 1.0).ahead) == 0
    assert len(chunk().at(10.9, 1.0).ahead) == 0
    stopped = chunk()
    stopped.stopped(10.25)
    assert len(stopped.at(10.3, 1.0).ahead) == 0
    assert stopped.at(10.3, 1.0).executed == 2


def test_rows_driven_before_the_last_image_are_not_counted_twice() -> None:
    """Row 0 began before the image that the chunk is about when the arm was already moving."""
    assert chunk(begin=9.8, stamp=10.0).at(10.2, 0.0).executed == 2


class Recording:
    """A policy that keeps what it was shown; the clock runs 0.2 s a thought."""

    description, needs_geometry = "recording", False
    codebook = ""

    def __init__(self) -> None:
        self.time, self.seen = 100.0, list[Observation]()
        self.buffer = ObservationBuffer(("external",))

    def now(self) -> float:
        self.time += 0.005
        self.buffer.add_image("external", self.time - 0.004, np.zeros((6, 8, 3), np.uint8))
        return self.time

    def reset(self, instruction: str) -> None: ...
    def on_waiting(self, detail) -> None: ...
    def on_thinking(self, observation) -> None: ...
    def on_segment(self, segment) -> None: ...
    def on_thought(self, chunk_id, observation, thought) -> None: ...
    def on_refused(self, chunk_id, observation, refusal) -> None: ...
    def think(self, observation, canceled) -> Thought:
        self.time += 0.2
        self.seen.append(observation)
        rows = np.ones((8, 7)) * 0.001 * len(self.seen)
        return Thought("text", None, np.zeros((1, 2), np.float32), rows)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_goal_tells_the_policy_what_the_arm_does_meanwhile(shadow: bool) -> None:
    world = Recording()
    settings = GoalSettings(period=PERIOD, rethink_after_rows=4)
    loop = GoalLoop(world, world.buffer, world, settings, world.now)
    loop.run("go", threading.Event(), max_duration=3.0, shadow=shadow)
    first, *others = [seen.driving for seen in world.seen]
    assert len(others) > 2 and first is not None and first.executed == len(first.ahead) == 0
    for number, driving in enumerate(others, start=1):
        if shadow:
            assert driving.executed == len(driving.ahead) == 0
        else:
            assert 3 <= driving.executed <= 6
            assert 2 <= len(driving.ahead) <= 3
            assert (driving.ahead == 0.001 * number).all()


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=0)
    return folder


def seen(driving: Driving | None) -> Observation:
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), dtype=np.uint8)
    return Observation(1.0, (noise[0], noise[1]), "pick up the cube", driving=driving)


def test_a_chunk_begins_with_the_rows_being_driven(nano: Path) -> None:
    """Off by default: then the same observation gives the model's own rows."""
    plain, joined = MolmoActPolicy(nano), MolmoActPolicy(nano, continue_rows=True)
    own = plain.think(seen(None), lambda: False).actions
    ahead = own[::-1][:3] * 0.5
    ahead[:, 6] = [1.0, 0.0, 1.0]
    assert np.array_equal(plain.think(seen(Driving(2, ahead)), lambda: False).actions, own)
    found = joined.think(seen(Driving(2, ahead)), lambda: False).actions
    bin_width = np.ptp(own[:, :6], axis=0).max() / 64
    assert np.abs(found[:3, :6] - ahead[:, :6]).max() < bin_width
    assert np.array_equal(found[:3, 6], ahead[:, 6])
    assert len(found) == len(own)


def test_at_least_one_row_is_left_to_the_model(nano: Path) -> None:
    """Eight given rows would leave nothing to think about; seven are taken."""
    joined = MolmoActPolicy(nano, continue_rows=True)
    found = joined.think(seen(Driving(0, np.zeros((8, 7)))), lambda: False).actions
    assert np.abs(found[:7, :6]).max() < 1e-3 and found.shape == (8, 7)


def test_rows_of_another_robot_are_not_taken(nano: Path) -> None:
    joined = MolmoActPolicy(nano, continue_rows=True)
    own = joined.think(seen(None), lambda: False).actions
    other = joined.think(seen(Driving(0, np.zeros((2, 14)))), lambda: False).actions
    assert np.array_equal(own, other)


def test_a_policy_server_hears_of_them_too(nano: Path) -> None:
    model = MolmoActPolicy(nano).model
    driving = Driving(3, ROWS[:2])
    there = read_request(request_to_wire(Think(1, seen(driving))), model)
    assert isinstance(there, Think) and there.observation.driving is not None
    assert there.observation.driving.executed == 3
    assert np.array_equal(there.observation.driving.ahead, ROWS[:2])
    nobody = read_request(request_to_wire(Think(1, seen(None))), model)
    assert isinstance(nobody, Think) and nobody.observation.driving is None


@pytest.mark.parametrize(
    "driving",
    [
        Driving(-1, ROWS[:2]),
        Driving(1, np.zeros((2, 5))),
        Driving(1, np.zeros((9, 7))),
        Driving(1, np.full((1, 7), np.nan)),
    ],
)
def test_impossible_rows_are_refused(nano: Path, driving: Driving) -> None:
    model = MolmoActPolicy(nano).model
    with pytest.raises(WireError):
        read_request(request_to_wire(Think(1, seen(driving))), model)
