"""Landmarks teach where things are; they must name the right token and vanish from the weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.data.landmarks import NAMES, VALUES, read_landmarks
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.policy.scripted.statistics import KEY, sim_statistics
from molmoact_ros.reasoning.statistics import write_statistics
from molmoact_ros.train.loss import Learner
from molmoact_ros.train.sight import Sight
from molmoact_ros.train.sizes import save_untrained, small_config, small_tokenizer, untrained
from molmoact_ros.train.targets import BinTargets, number_tokens

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import tiny_config


def marks(u: float, v: float, seen: bool = True) -> torch.Tensor:
    """One picture with every thing at the same place."""
    table = np.zeros((len(NAMES), VALUES), np.float32)
    table[:, 0], table[:, 1], table[:, 2] = u, v, seen
    return torch.from_numpy(table.reshape(1, -1))


def test_the_place_is_the_token_whose_window_holds_the_thing() -> None:
    """Row and column swapped would still train, and teach a mirrored table."""
    sight = Sight(width=9, grid=3, tokens=9)
    with torch.no_grad():
        sight.place.weight.zero_()
        sight.place.weight[:, 5] = 10.0  # column 2 of row 1
    features = torch.eye(9)
    right = sight(features, marks(0.9, 0.5))["place"]
    wrong = sight(features, marks(0.5, 0.9))["place"]
    assert right < 0.01 < wrong


def test_things_out_of_view_teach_nothing_about_their_place() -> None:
    sight = Sight(width=9, grid=3, tokens=9)
    both = torch.cat([marks(0.1, 0.1), marks(0.9, 0.9, seen=False)])
    features = torch.randn(18, 9)
    assert torch.isfinite(sight(features, both)["place"])
    alone = sight(features[:9], marks(0.1, 0.1))["place"]
    assert torch.allclose(sight(features, both)["place"], alone, rtol=1e-5)


def test_the_head_is_not_part_of_the_network() -> None:
    network = untrained(tiny_config(), 0)
    before = {name for name, _ in network.named_parameters()}
    learner = Learner(network, sight=1.0)
    assert {name for name, _ in learner.network.named_parameters()} == before
    assert learner.sight is not None


def test_landmarks_of_another_version_are_refused() -> None:
    with pytest.raises(ValueError, match="make the data again"):
        read_landmarks(np.zeros(13, np.float32))


def test_neighbours_are_softened_among_themselves_only() -> None:
    """A trace coordinate next to a bin in the table is no neighbour of it."""
    both = BinTargets.make(range(4), 1.0).and_also(BinTargets.make(range(10, 15), 1.0))
    assert both.ids.tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 14]
    assert both.weights[:4, 4:].abs().max() == 0.0
    assert torch.allclose(both.weights.sum(1), torch.ones(9))


def test_every_trace_coordinate_is_one_token() -> None:
    assert len(set(number_tokens(build_nano_tokenizer(phrases=True)))) == 256


def test_micro_sees_a_patch_for_every_depth_code() -> None:
    config, settings = small_config("micro")
    assert settings.grid == 10 and config.vit.image_num_pos == 100
    assert config.vit.image_patch_size == settings.patch


def test_a_micro_network_answers_in_the_form_that_the_robot_reads(tmp_path: Path) -> None:
    """Whole sentences as tokens must suit the answer grammar, or nothing it learned could drive."""
    write_statistics(tmp_path / STATISTICS, {KEY: sim_statistics()})
    save_untrained(tmp_path / "ck", "micro", tmp_path, 0)
    policy = MolmoActPolicy(tmp_path / "ck")
    pictures = tuple(np.full((240, 320, 3), grey, np.uint8) for grey in (90, 160))
    words = "pick up the red cube"
    policy.reset(words)
    thought = policy.think(Observation(0.0, pictures, words), lambda: False)
    assert thought.actions.shape == (8, 7)
    assert thought.depth is not None and thought.depth.size == 100
    assert policy.last_answer is not None
    whole = small_tokenizer("micro").encode(thought.text)
    assert len(whole) < 260
    line = np.array([[20, 20], [200, 120]], np.float32)
    steered = policy.think(Observation(0.1, pictures, words, steering=line), lambda: False)
    assert steered.steered and steered.actions.shape == (8, 7)
