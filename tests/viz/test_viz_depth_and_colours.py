"""Depth pictures and colours: an operator reads near and far, model and human from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from molmoact_ros.viz.colours import EXECUTED, HUMAN, MODEL, Colour
from molmoact_ros.viz.depth_view import colour_depth, colour_mono8, depth_mono8
from molmoact_ros.viz.jpeg import encode_jpeg
from molmoact_ros.viz.text import fitted, printable, width, wrapped


def lightness(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[..., 0].astype(int)


def test_near_is_255_and_overshoot_is_clipped_not_rescaled() -> None:
    """Rescaling every map would make two different thoughts look the same."""
    mono = depth_mono8(np.array([[0.0, 0.5, 1.0, 1.2, -0.1]]))
    assert mono.tolist() == [[0, 128, 255, 255, 0]]
    assert depth_mono8(np.array([[0.0, 0.2]])).max() == 51


def test_the_colour_map_grows_in_lightness_from_far_to_near() -> None:
    """A rainbow map would break "bright = near" in print and for colour-blind eyes."""
    ramp = lightness(colour_mono8(np.arange(256, dtype=np.uint8)[None]))[0]
    assert (np.diff(ramp) >= -1).all()
    assert ramp[-1] - ramp[0] > 200


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((0, 3)), np.array([[np.nan]])])
def test_a_map_that_is_no_map_is_refused_with_a_remedy(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected .*; (pass|check)"):
        depth_mono8(bad)


def test_the_label_changes_only_the_foot_of_the_picture() -> None:
    """The label must not cover the scene, and without it the picture is the bare map."""
    depth = np.tile(np.linspace(0, 1, 320), (240, 1))
    bare, named = colour_depth(depth, label=False), colour_depth(depth)
    assert bare.shape == named.shape == (240, 320, 3)
    assert (bare[:200] == named[:200]).all()
    assert (bare[220:] != named[220:]).any()
    assert colour_depth(depth, (640, 480)).shape == (480, 640, 3)


def test_model_is_cyan_human_orange_executed_white() -> None:
    """Screens, films and RViz all take these three; swapping them would mislead people."""
    assert MODEL.blue > 200 and MODEL.green > 200 and MODEL.red < 60
    assert HUMAN.red > 200 and 100 < HUMAN.green < 200 and HUMAN.blue < 100
    assert Colour(255, 255, 255) == EXECUTED
    assert EXECUTED.rgba(0.5) == (1.0, 1.0, 1.0, 0.5)
    assert Colour(0, 0, 0).mixed(Colour(200, 100, 50), 0.5) == Colour(100, 50, 25)
    with pytest.raises(ValueError, match="clip it"):
        MODEL.mixed(HUMAN, 1.5)


def test_jpeg_keeps_red_red() -> None:
    """OpenCV thinks in BGR; a forgotten swap would show a blue cube for a red one."""
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[..., 0] = 220
    back = cv2.imdecode(np.frombuffer(encode_jpeg(rgb), np.uint8), cv2.IMREAD_COLOR)
    assert back[16, 16, 2] > 200 and back[16, 16, 0] < 30
    with pytest.raises(ValueError, match="expected uint8"):
        encode_jpeg(rgb.astype(np.float32))


def test_long_words_are_cut_to_the_place_they_have() -> None:
    """An instruction of any length and alphabet must not run over the film's edge."""
    text = "put the red cube on the plate and then the blue one beside it"
    assert width(fitted(text, 20, 200), 20) <= 200
    assert fitted("short", 20, 200) == "short"
    lines = wrapped(text, 20, 220, 2)
    assert len(lines) == 2 and all(width(line, 20) <= 220 for line in lines)
    assert printable("a\n→\tb\u4e2d") == "a > b?"
