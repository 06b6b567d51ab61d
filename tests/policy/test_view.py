"""The robot shows its network what training showed it: size, line, central part, answer's kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.describe import describe_checkpoint
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.policy.startup_checks import RobotDescription, startup_refusals
from molmoact_ros.policy.view import View, resized, view_of
from molmoact_ros.reasoning.overlay import draw_trace

RNG = np.random.default_rng(5)
LARGE = RNG.integers(0, 256, (480, 640, 3), dtype=np.uint8)


def test_the_line_is_drawn_on_a_picture_of_the_training_size() -> None:
    """Two pixels of 640 would be one of the 320 that the network was taught with."""
    path = np.array([[20, 30], [200, 150]], np.float32)
    seen = View(size=(320, 240)).seen([LARGE, LARGE], path)
    np.testing.assert_array_equal(seen[0], draw_trace(resized(LARGE, (320, 240)), path))
    np.testing.assert_array_equal(seen[1], resized(LARGE, (320, 240)))


def test_without_a_card_pictures_are_only_shrunk() -> None:
    (seen,) = view_of({}).seen([LARGE])
    assert seen.shape == (252, 336, 3)
    assert View(longest=None).seen([LARGE])[0] is LARGE


def test_a_network_trained_on_crops_sees_the_centre_and_its_trace_is_moved_back() -> None:
    """A spot of the picture, named where the crop shows it, comes back to where it is."""
    picture = np.zeros((240, 320, 3), np.uint8)
    x, y = 70, 190
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    view = view_of({"image_size": [320, 240], "center_crop": 0.9})
    (seen,) = view.seen([picture])
    rows, columns = np.nonzero(seen[..., 0] > 128)
    named = np.array([[columns.mean() / 320, rows.mean() / 240]], np.float32) * 255
    whole = view.in_whole_picture(named)
    np.testing.assert_allclose(whole, [[x / 320 * 255, y / 240 * 255]], atol=1.0)
    assert np.abs(named - whole).max() > 2.0
    fixed = view_of({"center_crop": 0.9, "crop_moves_trace": False})
    np.testing.assert_array_equal(fixed.in_whole_picture(named), named)


@pytest.mark.parametrize("card", [{"center_crop": 0.0}, {"center_crop": "x"}, {"image_size": [3]}])
def test_a_card_without_sense_is_refused(card: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="the card's"):
        view_of(card)


@pytest.fixture(scope="module")
def nano(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, 0)
    return folder


def carded(nano: Path, folder: Path, **card: object) -> Path:
    shutil.copytree(nano, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for statistics in config["norm_stats"].values():
        statistics.setdefault("molmo_ros", {}).update(card)
    path.write_text(json.dumps(config))
    return folder


def thought_of(folder: Path):
    pictures = (LARGE[:240, :320], LARGE[240:, 320:])
    policy = MolmoActPolicy(folder)
    return policy.think(Observation(1.0, pictures, "pick up the red cube"), lambda: False)


def test_without_depth_in_the_data_none_is_asked_or_written(nano: Path, tmp_path: Path) -> None:
    """Another question, no empty clause: data contract, section 8."""
    thought = thought_of(carded(nano, tmp_path / "a", depth_source="none", chunk=4))
    assert thought.depth is None
    assert "depth" not in thought.text
    assert len(thought.trace) > 0
    assert thought.actions.shape == (4, 7)


def test_a_network_that_was_taught_actions_only_is_asked_for_actions(nano, tmp_path) -> None:
    thought = thought_of(carded(nano, tmp_path / "a", depth_source="none", trace_source="none"))
    assert thought.depth is None
    assert len(thought.trace) == 0
    assert not thought.steered, "nobody drew anything"
    assert thought.actions.shape == (8, 7)


def test_a_card_is_described_and_a_camera_of_another_aspect_refused(nano, tmp_path) -> None:
    model = describe_checkpoint(carded(nano, tmp_path / "a", image_size=[320, 240], chunk=5))
    assert (model.image_size, model.rows) == ((320, 240), 5)
    wide = RobotDescription(image_sizes=((640, 480), (848, 480)))
    (refusal,) = startup_refusals(wide, model)
    assert "wrist camera's pictures are 848x480" in refusal
    with pytest.raises(PolicyError, match="chunk is 0"):
        describe_checkpoint(carded(nano, tmp_path / "b", chunk=0))
