"""Traces: on the 0..255 grid, starting at the tool, five points at most."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.data.traces import bridged, traces


def line(count: int) -> np.ndarray:
    return np.stack([np.linspace(0.1, 0.9, count), np.full(count, 0.5)], axis=1)


@pytest.mark.parametrize(
    ("count", "indices"),
    [(6, [0, 1, 2, 3, 5]), (8, [0, 1, 3, 5, 7]), (112, [0, 27, 55, 83, 111])],
)
def test_five_points_are_picked_evenly_with_first_and_last(count: int, indices: list[int]) -> None:
    points = line(count)
    wanted = np.rint(points[indices] * 255)
    assert np.array_equal(traces(points)[0], wanted)


def test_the_trace_lies_on_the_grid_whatever_the_picture_size() -> None:
    """The public pipeline stores pixels and draws them as 0..255: right at 256 x 256 only."""
    assert traces(np.array([[1.0, 0.0], [0.5, 0.25]]))[0].tolist() == [[255, 0], [128, 64]]


def test_the_first_point_is_the_present_one_and_the_last_tick_has_one() -> None:
    found = traces(line(30))
    for i, trace in enumerate(found):
        assert trace is not None
        assert trace[0].tolist() == np.rint(line(30)[i] * 255).tolist()
    assert len(found[-1]) == 1


def test_a_tick_without_the_tool_gives_no_trace() -> None:
    """The public pipeline drops failed points, so its first point is where the tool will be."""
    points = line(20)
    points[:8] = np.nan
    found = traces(points)
    assert found[0] is None and found[7] is None
    assert found[8] is not None


def test_short_gaps_are_bridged_and_long_ones_are_not() -> None:
    points = line(20)
    points[3:6] = np.nan
    points[10:17] = np.nan
    filled = bridged(points)
    assert np.allclose(filled[3:6], line(20)[3:6])
    assert np.isnan(filled[10:17]).all()


def test_an_episode_without_any_point_has_no_traces() -> None:
    assert traces(np.full((5, 2), np.nan)) == [None] * 5
