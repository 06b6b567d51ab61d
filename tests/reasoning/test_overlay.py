"""The model reads these pixels: colour, rounding and thickness are a contract with the weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.reasoning.libero_steps import centre_crop, libero_gripper
from molmoact_ros.reasoning.overlay import draw_trace, steering_view

GREY = np.full((240, 320, 3), 90, dtype=np.uint8)


def test_golden_training_overlay(golden: Path) -> None:
    cases = json.loads((golden / "overlay/train_overlay.json").read_text())
    with np.load(golden / "overlay/train_overlay.npz") as pictures:
        for case in cases:
            names = ("annotation", "left_annotation", "right_annotation")
            traces = [case[name] for name in names if case[name] is not None]
            before = pictures[f"before_{case['case']}"]
            drawn = draw_trace(before, *traces)
            np.testing.assert_array_equal(drawn, pictures[f"after_{case['case']}"])
            assert int((drawn != before).any(axis=2).sum()) == case["changed_pixels"]


def test_golden_steering_view(golden: Path) -> None:
    cases = json.loads((golden / "overlay/steer_overlay.json").read_text())
    with np.load(golden / "overlay/steer_overlay.npz") as pictures:
        for case in cases:
            i, path = case["case"], case["trajectory_in_original_pixels"]
            rgb = pictures[f"rgb_{i}"]
            np.testing.assert_array_equal(steering_view(rgb, []), pictures[f"resized_{i}"])
            np.testing.assert_array_equal(steering_view(rgb, path), pictures[f"after_{i}"])


def test_golden_libero_steps(golden: Path) -> None:
    with np.load(golden / "overlay/libero_steps.npz") as arrays:
        for i in (0, 1):
            cropped = centre_crop(arrays[f"before_{i}"])
            np.testing.assert_array_equal(cropped, arrays[f"after_{i}"])
        np.testing.assert_array_equal(libero_gripper(arrays["gripper_in"]), arrays["gripper_out"])


def test_line_is_cyan_in_rgb_and_the_camera_picture_is_untouched() -> None:
    """Yellow would be a picture the model never saw; a drawn-on camera frame would reach others."""
    before = GREY.copy()
    drawn = draw_trace(before, [[0, 128], [255, 128]])
    np.testing.assert_array_equal(before, GREY)
    assert drawn[120, 160].tolist() == [0, 255, 255]


@pytest.mark.parametrize("trace", [[], [[10, 10]], np.zeros((0, 2))])
def test_fewer_than_two_points_draw_nothing(trace: list) -> None:
    np.testing.assert_array_equal(draw_trace(GREY, trace), GREY)


@pytest.mark.parametrize("trace", [[[1, 2, 3]], [[np.nan, 1], [2, 3]], [1, 2]])
def test_broken_traces_are_named(trace: list) -> None:
    with pytest.raises(ValueError, match="trace"):
        draw_trace(GREY, trace)


@pytest.mark.parametrize("picture", [GREY[..., 0], GREY.astype(np.float32), GREY[:0]])
def test_wrong_pictures_are_named(picture: np.ndarray) -> None:
    for draw in (lambda p: draw_trace(p, []), lambda p: steering_view(p, []), centre_crop):
        with pytest.raises(ValueError, match="RGB"):
            draw(picture)


def test_crop_keeps_the_centre_and_the_size() -> None:
    picture = np.zeros((100, 200, 3), dtype=np.uint8)
    picture[45:55, 95:105] = 255
    cropped = centre_crop(picture, 0.25)
    assert cropped.shape == picture.shape
    assert cropped[50, 100].tolist() == [255, 255, 255]
    assert int((cropped[..., 0] > 127).sum()) == pytest.approx(400, rel=0.1)
    with pytest.raises(ValueError, match="share"):
        centre_crop(picture, 0.0)
