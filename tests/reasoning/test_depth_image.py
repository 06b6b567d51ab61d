"""Depth pictures: the VQ-VAE only understands depth stretched exactly as in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.reasoning.depth_image import display_u8, relative_depth_u8, vqvae_input


def _archives(golden: Path) -> list[Path]:
    packaged = golden / "depth_image/cases.npz"
    return [packaged] if packaged.is_file() else sorted((golden / "vqvae").glob("*_cases.npz"))


def test_golden_network_inputs(golden: Path) -> None:
    seen = 0
    for path in _archives(golden):
        with np.load(path) as arrays:
            for name in [n for n in arrays.files if n.startswith("input_")]:
                expected = arrays[name]
                if expected.dtype == np.uint8:
                    expected = expected.astype(np.float32) / np.float32(255)
                got = vqvae_input(arrays[name.replace("input", "depth_u8")])
                np.testing.assert_array_equal(got, expected)
                assert got.dtype == np.float32
                seen += 1
    assert seen >= 2


def test_golden_display(golden: Path) -> None:
    seen = 0
    for path in _archives(golden):
        with np.load(path) as arrays:
            for name in [n for n in arrays.files if n.startswith("decoded_vis_u8_")]:
                decoded = arrays[name.replace("_vis_u8", "")][0, 0]
                np.testing.assert_array_equal(display_u8(decoded), arrays[name])
                seen += 1
    assert seen >= 1


def test_near_is_bright() -> None:
    """Both sources mean the same: 1/z of a sensor is the estimator's relative depth."""
    metres = np.tile(np.linspace(0.4, 1.2, 200, dtype=np.float32), (100, 1))
    sensor = relative_depth_u8(metres, "sensor").astype(int)
    estimate = relative_depth_u8(1 / metres, "relative").astype(int)
    assert sensor[0, 0] == 255
    assert sensor[0, -1] == 0
    assert (np.diff(sensor[0]) <= 0).all()
    assert np.abs(sensor - estimate).max() <= 6


def test_truncation_not_rounding() -> None:
    """0.999 * 255 is 254, as in the training labels."""
    values = np.array([[0.0, 0.5, 0.999, 1.0]], dtype=np.float32)
    assert relative_depth_u8(values, "relative").tolist() == [[0, 127, 254, 255]]


@pytest.mark.parametrize("hole", [0.0, np.nan, -1.0, np.inf])
def test_holes_take_the_nearest_measurement(hole: float) -> None:
    """A shadow at the edge of an object must not become a bright speck at 1/0."""
    metres = np.full((60, 80), 1.0, dtype=np.float32)
    metres[:, :40] = 0.5
    whole = relative_depth_u8(metres, "sensor")
    holed = metres.copy()
    holed[20:26, 20:26] = hole
    holed[30:34, 60:64] = hole
    np.testing.assert_array_equal(relative_depth_u8(holed, "sensor"), whole)


def test_wide_holes_take_the_median() -> None:
    """Beyond 15 pixels nothing is known, so the frame's median stands in."""
    metres = np.full((100, 200), 2.0, dtype=np.float32)
    metres[:, :60] = 0.5
    metres[:, 60:120] = 0.0
    picture = relative_depth_u8(metres, "sensor")
    assert picture[50, 62] == 255
    assert picture[50, 72] == 255
    assert picture[50, 80] == 0


def test_extremes_do_not_eat_the_range() -> None:
    """One flying pixel close to the lens would leave the rest of the frame black."""
    metres = np.tile(np.linspace(0.5, 1.0, 300, dtype=np.float32), (200, 1))
    spoiled = metres.copy()
    spoiled[5, 5] = 0.01
    difference = relative_depth_u8(spoiled, "sensor").astype(int) - relative_depth_u8(
        metres, "sensor"
    )
    difference[5, 5] = 0
    assert np.abs(difference).max() <= 2


def test_flat_frames_are_black() -> None:
    assert not relative_depth_u8(np.full((4, 4), 0.7, np.float32), "sensor").any()
    assert not display_u8(np.full((4, 4), 0.7, np.float32)).any()


@given(st.floats(0.1, 5.0), st.floats(0.05, 20.0))
@settings(max_examples=30)
def test_scale_and_offset_cancel(scale: float, offset: float) -> None:
    """An estimator's unknown scale and offset must not change the picture."""
    base = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    moved = (base * scale + offset).astype(np.float32)
    difference = relative_depth_u8(moved, "relative").astype(int) - relative_depth_u8(
        base, "relative"
    )
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("depth", "source", "message"),
    [
        (np.zeros((4, 4), np.float32), "sensor", "no valid pixel"),
        (np.full((4, 4), np.nan, np.float32), "sensor", "no valid pixel"),
        (np.full((4, 4), np.nan, np.float32), "relative", "NaN"),
        (np.zeros((4, 4, 1), np.float32), "sensor", "H, W"),
        (np.zeros((0, 4), np.float32), "sensor", "H, W"),
        (np.ones((4, 4), np.float32), "guess", "Unknown depth source"),
    ],
)
def test_unusable_depth_says_what_to_do(depth: np.ndarray, source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        relative_depth_u8(depth, source)  # type: ignore[arg-type]


def test_wrong_network_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="relative_depth_u8"):
        vqvae_input(np.zeros((4, 4), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not finite"):
        display_u8(np.array([[np.inf]]))
