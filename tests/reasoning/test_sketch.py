"""Drawn paths come from outside: only a real line in a fresh picture is believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmoact_ros.reasoning.sketch import BadSketch, check_picture_age, check_points

NAN = float("nan")


def test_two_to_five_points_pass_unchanged() -> None:
    for count in range(2, 6):
        points = np.linspace([0, 0], [255, 255], count)
        assert np.array_equal(check_points(points.tolist()), points.astype(np.float32))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "expected points"),
        ([[1, 2]], "1 point;"),
        ([[i * 9, 9] for i in range(6)], "6 points"),
        ([[0, 0], [256, 10]], "outside"),
        ([[0, 0], [-0.1, 10]], "outside"),
        ([[0, 0], [NAN, 10]], "outside"),
        ([[0, 0], [float("inf"), 10]], "outside"),
        ([[9, 9], [9, 9]], "longer path"),
        ([[1, 2, 3], [4, 5, 6]], "expected points"),
        (["a", "b"], "draw it again"),
        ([[0, 0], [1]], "draw it again"),
    ],
)
def test_anything_else_is_refused_with_a_remedy(points: list[object], words: str) -> None:
    with pytest.raises(BadSketch, match=words):
        check_points(points)  # type: ignore[arg-type]


@given(st.recursive(st.none() | st.floats() | st.text(max_size=3), st.lists, max_leaves=12))
def test_no_input_breaks_the_check(points: object) -> None:
    """What a page sends may be anything; the answer is points or words, never a crash."""
    try:
        values = check_points(points)  # type: ignore[arg-type]
    except BadSketch:
        return
    assert values.shape[1] == 2 and np.isfinite(values).all()


def test_an_old_or_future_picture_is_refused() -> None:
    check_picture_age(100.0, 129.0)
    check_picture_age(100.2, 100.0)
    for stamp, words in ((60.0, "40 s old"), (104.0, "future"), (NAN, "future")):
        with pytest.raises(BadSketch, match=words):
            check_picture_age(stamp, 100.0)
