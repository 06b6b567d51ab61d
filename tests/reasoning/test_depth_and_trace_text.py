"""Depth and trace text: what the operator sees must be what the model said, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from molmoact_ros.reasoning.depth_text import depth_from_text, depth_to_text, grid_shape
from molmoact_ros.reasoning.thought import ThoughtRefused
from molmoact_ros.reasoning.trace_text import (
    subsample_trace,
    to_grid,
    trace_from_text,
    trace_to_text,
)


@given(hnp.arrays(np.uint8, (10, 10), elements=st.integers(0, 127)))
def test_depth_round_trip(codes: np.ndarray) -> None:
    np.testing.assert_array_equal(depth_from_text(depth_to_text(codes)), codes)


def test_golden_grid_shapes(golden: Path) -> None:
    table = json.loads((golden / "parsers/depth_text.json").read_text())["grid_for_count"]
    assert {count: list(grid_shape(int(count))) for count in table} == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<DEPTH_START><DEPTH_1><DEPTH_2>", "mark"),
        ("<DEPTH_1><DEPTH_2><DEPTH_END>", "mark"),
        ("<DEPTH_START><DEPTH_1><DEPTH_END>", "1 codes instead of 2"),
        ("<DEPTH_START><DEPTH_END>", "0 codes instead of 2"),
        ("<DEPTH_START><DEPTH_1><DEPTH_2><DEPTH_3><DEPTH_END>", "3 codes"),
        ("<DEPTH_START><DEPTH_1> <DEPTH_2><DEPTH_END>", "besides"),
        ("<DEPTH_START><DEPTH_1><DEPTH_a><DEPTH_END>", "besides"),
        ("<DEPTH_START><DEPTH_1><DEPTH_-2><DEPTH_END>", "besides"),
        ("<DEPTH_START><DEPTH_1><DEPTH_128><DEPTH_END>", "128"),
        ("<DEPTH_START><DEPTH_1><DEPTH_99999><DEPTH_END>", "besides"),
        ("<DEPTH_START><DEPTH_START><DEPTH_1><DEPTH_2><DEPTH_END>", "besides"),
    ],
)
def test_damaged_depth_is_refused(text: str, message: str) -> None:
    with pytest.raises(ThoughtRefused, match=message):
        depth_from_text(text, count=2)


@pytest.mark.parametrize("codes", [[], [128], [-1], [0.5]])
def test_impossible_codes_are_never_written(codes: list[float]) -> None:
    with pytest.raises(ValueError):
        depth_to_text(codes)


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.just(2)), elements=st.integers(0, 255)))
def test_trace_round_trip(points: np.ndarray) -> None:
    np.testing.assert_array_equal(trace_from_text(trace_to_text(points)), points)
    np.testing.assert_array_equal(trace_from_text(trace_to_text(points).replace(" ", "")), points)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a list"),
        ("[[]]", "not a list"),
        ("[140, 225]", "not a list"),
        ("[[1, 2, 3]]", "not a list"),
        ("[[1, 2], [3]]", "not a list"),
        ("[[1.5, 2]]", "not a list"),
        ("[[-1, 2]]", "not a list"),
        ("[[1e1, 2]]", "not a list"),
        ("[['1', 2]]", "not a list"),
        ("[[nan, 2]]", "not a list"),
        ("[[\u0661, 2]]", "not a list"),
        ("[[1, 2] [3, 4]]", "not a list"),
        ("[[1, 99999999]]", "not a list"),
        ("[[1, 2], [256, 0]]", r"\[256, 0\]"),
        ("[[1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]", "6 points"),
    ],
)
def test_damaged_trace_is_refused(text: str, message: str) -> None:
    with pytest.raises(ThoughtRefused, match=message):
        trace_from_text(text)


@pytest.mark.parametrize(
    "points", [[], [[1, 2, 3]], [[256, 0]], [[-1, 0]], [[0.5, 1]], [[np.nan, 1]], [[1, 1]] * 6]
)
def test_impossible_trace_is_never_written(points: list) -> None:
    with pytest.raises(ValueError):
        trace_to_text(points)


def test_golden_subsampling(golden: Path) -> None:
    cases = json.loads((golden / "parsers/trace_subsample.json").read_text())
    for case in cases:
        # The first recorded case used the fallback [9, 9] without writing it down.
        unrecorded = case["out"][0] if not case["points"] and case["out"] else None
        fallback = case.get("fallback", unrecorded)
        assert subsample_trace(case["points"], case["k"], fallback) == case["out"]


@pytest.mark.parametrize(
    ("count", "kept"),
    [(1, [0]), (5, [0, 1, 2, 3, 4]), (6, [0, 1, 2, 3, 5]), (8, [0, 1, 3, 5, 7]),
     (112, [0, 27, 55, 83, 111])],
)  # fmt: skip
def test_subsampling_of_the_data_contract(count: int, kept: list[int]) -> None:
    """First and last point always stay: where the hand is and where the episode ends."""
    assert [point[0] for point in subsample_trace([(i, 0) for i in range(count)])] == kept


def test_pixels_to_grid() -> None:
    """u = round(x / W * 255), v likewise, on a picture that is not square."""
    pixels = [[0, 0], [320, 120], [639, 479], [700, -3]]
    assert to_grid(pixels, 640, 480).tolist() == [[0, 0], [128, 64], [255, 254], [255, 0]]
    with pytest.raises(ValueError, match="finite"):
        to_grid([[np.nan, 0]], 640, 480)
