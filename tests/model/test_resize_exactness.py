"""The quick resize rounds like the step-by-step one, also where a pixel lies between two levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.model.resize import GREY_LEVELS, stretch


def taps(size: int, new: int):
    scale = np.float64(np.float32(size) / np.float32(new))
    source = (scale * (np.arange(new) + 0.5) - 0.5).astype(np.float32)
    source = np.maximum(source, np.float32(0))
    low = np.minimum(source.astype(int), size - 1)
    weight = np.clip(source - low.astype(np.float32), np.float32(0), np.float32(1))
    return low, np.minimum(low + 1, size - 1), weight


def mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    share = (np.float32(1) - weight).astype(np.float64)
    return (first * share + (second * weight).astype(np.float32)).astype(np.float32)


def step_by_step(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every pixel in the reference's order: columns, rows, rounding half to even."""
    values = picture.astype(np.float32)
    low, high, weight = taps(values.shape[1], width)
    values = mix(values[:, low], values[:, high], weight[:, None])
    low, high, weight = taps(values.shape[0], height)
    values = mix(values[low], values[high], weight[:, None, None])
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 90), st.integers(1, 90),
    st.sampled_from([2, 3, 256]), st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_size_gives_the_levels_of_the_steps(
    high: int, wide: int, height: int, width: int, levels: int, seed: int
) -> None:
    """Few levels make many ties: 0 and 1 meet half-way, where half to even decides."""
    picture = np.random.default_rng(seed).integers(0, levels, (high, wide, 3), dtype=np.uint8)
    assert np.array_equal(stretch(picture, height, width), step_by_step(picture, height, width))


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (720, 1280)])
def test_camera_sizes_give_the_levels_of_the_steps(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert np.array_equal(stretch(picture, 378, 378), step_by_step(picture, 378, 378))


def test_turned_and_cut_views_are_resized_like_copies() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    view = picture[::-1, ::2]
    assert np.array_equal(stretch(view, 126, 126), stretch(view.copy(), 126, 126))


def test_the_picture_given_is_left_alone() -> None:
    picture = np.full((20, 30, 3), 7, np.uint8)
    stretch(picture, 40, 40)
    assert (picture == 7).all()
    assert stretch(picture, 20, 30) is picture


def test_levels_span_minus_one_to_one() -> None:
    assert GREY_LEVELS[0] == -1 and GREY_LEVELS[255] == 1
    assert (np.diff(GREY_LEVELS) > 0).all()
