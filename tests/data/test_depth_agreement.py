"""A depth camera's codes for released weights: compared with the estimator's first."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from molmoact_ros.cli import main
from molmoact_ros.data import label_command
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.depth_agreement import compare
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.model.codebook import PACKAGE_WEIGHTS
from molmoact_ros.model.depth_weights import load_depth_vqvae, save_depth_vqvae

sys.path.insert(0, str(Path(__file__).parent))
from bag_writing_helpers import TOPICS, table_depth, write_bag
from data_helpers import CARD


class Seer:
    """An estimator that knows the frames of ``write_bag`` by their order."""

    def __init__(self, *_: object, backwards: bool = False) -> None:
        self._next, self._backwards = 0, backwards

    def estimate(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert rgb.shape == (48, 64, 3)
        near = 3.0 / table_depth(self._next) + 1.0  # of any scale
        self._next += 1
        return near.max() - near if self._backwards else near


class BlindSeer(Seer):
    """Takes far for near."""

    def __init__(self, *_: object) -> None:
        super().__init__(backwards=True)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The package's VQ-VAE as somebody else's file."""
    path = tmp_path / "weights" / "foreign.safetensors"
    save_depth_vqvae(load_depth_vqvae(PACKAGE_WEIGHTS), path, {"made": "elsewhere"})
    return path


def label(tmp_path: Path, *more: str) -> int:
    size = ("--set", "image_size=[64,48]")
    return main(["label", str(tmp_path / "one"), "--out", str(tmp_path / "data"), *size, *more])


def test_two_sources_are_compared_over_all_frames_there_are(tmp_path: Path) -> None:
    bags = [write_bag(tmp_path, "one")]
    good = compare(bags, TOPICS, CARD, DepthLabeller(None, Seer()), 200)
    assert (good.frames, good.bags, good.accepted) == (24, 1, True)
    assert good.equal_codes > 0.9 and good.cosine > 0.9
    assert "24 frames of 1 bags, fewer than the 200 asked for: agree" in good.words
    bad = compare(bags, TOPICS, CARD, DepthLabeller(None, BlindSeer()), 24)
    assert not bad.accepted and bad.equal_codes < 0.4


def test_frames_are_spread_over_the_bags(tmp_path: Path) -> None:
    bags = [write_bag(tmp_path, name) for name in ("one", "two", "three")]
    (tmp_path / "three" / "metadata.yaml").unlink()
    found = compare(bags, TOPICS, CARD, DepthLabeller(None, Seer()), 9)
    assert (found.frames, found.bags) == (6, 2)


def test_foreign_codes_of_a_depth_camera_need_the_comparison(
    tmp_path: Path,
    foreign: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_bag(tmp_path, "one")
    weights = ("--depth-weights", str(foreign))
    assert label(tmp_path, *weights) == 2
    assert "--depth-agreement --depth-estimator" in capsys.readouterr().err
    both = (*weights, "--depth-estimator", str(tmp_path), "--depth-agreement", "24")
    label_command._depth.cache_clear()
    monkeypatch.setattr(label_command, "DepthAnything", BlindSeer)
    assert label(tmp_path, *both) == 2
    assert "do not agree" in capsys.readouterr().err
    assert label(tmp_path, *weights) == 2, "a comparison that failed was forgotten"
    label_command._depth.cache_clear()
    monkeypatch.setattr(label_command, "DepthAnything", Seer)
    assert label(tmp_path, *both) == 0
    assert "24 frames of 1 bags: agree" in capsys.readouterr().err
    found = json.loads((tmp_path / "data" / "depth_agreement.json").read_text())
    assert found["accepted"] and found["frames"] == 24
    assert label(tmp_path, *weights) == 0, "the comparison was forgotten"
    card = DataSet(tmp_path / "data", "").card
    assert card.depth_source == "sensor" and card.depth_codebook == found["codebook"]
    label_command._depth.cache_clear()


def test_a_comparison_can_be_gone_without(tmp_path: Path, foreign: Path) -> None:
    write_bag(tmp_path, "one")
    assert label(tmp_path, "--depth-weights", str(foreign), "--unchecked-depth") == 0


def test_a_comparison_needs_an_estimator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label(tmp_path, "--depth-agreement") == 2
    assert "--depth-estimator" in capsys.readouterr().err
