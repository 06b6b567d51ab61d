"""From pictures to a thought through the true path, with random weights on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.model_units import open_or_closed
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.policy.view import shrunk
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

LIMITS = np.array([0.01, 0.01, 0.01, 0.03, 0.03, 0.03, 1.0])


@pytest.fixture(scope="module")
def policy(nano_folder: Path) -> MolmoActPolicy:
    return MolmoActPolicy(nano_folder)


def observation(seed: int = 0, **changes) -> Observation:
    rng = np.random.default_rng(seed)
    pictures = tuple(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(2))
    values = {"stamp": 1.0, "images": pictures, "instruction": "put the red cube on the plate"}
    return Observation(**values | changes)


def never() -> bool:
    return False


def test_a_thought_has_depth_trace_and_a_chunk_within_the_statistics(policy) -> None:
    thought = policy.think(observation(), never)
    assert thought.depth.shape == (10, 10)
    assert 1 <= len(thought.trace) <= 5
    assert thought.actions.shape == (8, 7)
    assert (np.abs(thought.actions) <= LIMITS).all()
    assert {"images", "prefill", "depth", "trace", "actions", "total"} == set(thought.timings)


def test_the_same_observation_gives_the_same_thought_and_a_new_one_another(policy) -> None:
    """If pictures did not reach the answer, this would be a constant with extra steps."""
    first, again = policy.think(observation(), never), policy.think(observation(), never)
    assert first.text == again.text
    dark = tuple(np.zeros((480, 640, 3), np.uint8) for _ in range(2))
    assert policy.think(observation(images=dark), never).text != first.text


def test_a_steered_thought_holds_actions_only(policy) -> None:
    steering = np.array([[10, 20], [200, 100]], np.float32)
    thought = policy.think(observation(steering=steering), never)
    assert thought.steered
    assert thought.depth is None
    assert len(thought.trace) == 0
    assert thought.actions.shape == (8, 7)


def test_one_camera_asks_the_one_picture_question(nano_folder: Path) -> None:
    policy = MolmoActPolicy(nano_folder, images=1)
    thought = policy.think(observation(images=observation().images[:1]), never)
    assert thought.text.startswith(" The depth map of the image is")


def test_free_depth_of_another_length_is_refused(nano_folder: Path) -> None:
    policy = MolmoActPolicy(nano_folder, free_depth=True)
    with pytest.raises(ThoughtRefused):
        policy.think(observation(), never)


def test_the_description_says_that_the_weights_are_random(policy) -> None:
    assert "RANDOM" in policy.description


def test_a_canceled_goal_ends_the_thought(policy) -> None:
    with pytest.raises(ThoughtRefused, match="canceled"):
        policy.think(observation(), lambda: True)


def test_an_unfinished_answer_is_refused(nano_folder: Path) -> None:
    policy = MolmoActPolicy(nano_folder, max_new_tokens=50)
    with pytest.raises(ThoughtRefused, match="raise max_new_tokens"):
        policy.think(observation(), never)


def test_a_missing_camera_is_an_error_of_the_set_up(policy) -> None:
    with pytest.raises(PolicyError, match="1 of 2 pictures arrived"):
        policy.think(observation(images=observation().images[:1]), never)


def test_an_instruction_that_cannot_be_asked_is_refused_at_the_start(policy) -> None:
    with pytest.raises(PolicyError, match="empty"):
        policy.reset(" ")


@pytest.mark.parametrize(
    ("key", "rows", "message"), [("unknown", 8, "'unknown'"), (None, 0, "at least one row")]
)
def test_settings_that_do_not_fit_the_checkpoint(nano_folder, key, rows, message) -> None:
    with pytest.raises(PolicyError, match=message):
        MolmoActPolicy(nano_folder, unnorm_key=key, rows=rows)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such folder"):
        MolmoActPolicy(tmp_path / "nothing")
    with pytest.raises(PolicyError, match="config.json: missing"):
        MolmoActPolicy(tmp_path)


def test_large_pictures_are_shrunk_and_small_ones_left_alone() -> None:
    """Above 378 pixels a picture would be tiled, which the fine-tuned weights never saw."""
    assert shrunk(np.zeros((480, 640, 3), np.uint8)).shape == (252, 336, 3)
    small = np.zeros((240, 320, 3), np.uint8)
    assert shrunk(small) is small
    with pytest.raises(ValueError, match="camera's encoding"):
        shrunk(np.zeros((240, 320, 4), np.uint8))


def test_gripper_bins_become_open_or_closed() -> None:
    """A value between the two would be refused by the commander or move the fingers halfway."""
    rows = np.array(
        [[0.01, 0, 0, 0, 0, 0, -0.7], [0, 0, 0, 0, 0, 0, 0.49], [0, 0, 0, 0, 0, 0, 0.5]]
    )
    thought = Thought("", None, np.zeros((0, 2), np.float32), rows)
    grippers = np.arange(7) == 6
    decided = open_or_closed(thought, grippers).actions
    assert decided[:, 6].tolist() == [0.0, 0.0, 1.0]
    assert np.array_equal(decided[:, :6], rows[:, :6])
