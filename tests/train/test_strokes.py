"""Drawn paths that end at the thing they lead to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.cli import main
from molmoact_ros.data.dataset import Tick
from molmoact_ros.data.landmarks import NAMES, VALUES
from molmoact_ros.data.scatter import Scatterer, Share
from molmoact_ros.data.scatter_command import scatter_card
from molmoact_ros.policy.factory import PACKAGED
from molmoact_ros.train.recipe import PRESETS, BadRecipe, Recipe
from molmoact_ros.train.stream import Source, Visits
from molmoact_ros.train.strokes import cut_at, ending_at_the_thing

DOWN_AND_UP = np.array([[40, 20], [60, 60], [80, 100], [80, 80], [80, 60]], np.uint8)
CUBE = (80.0, 100.0)


def tick(words: str, trace: np.ndarray | None, place: tuple[float, float], seen: float) -> Tick:
    marks = np.zeros((2, len(NAMES), VALUES), np.float32)
    marks[0, NAMES.index("red_cube")] = (place[0] / 255, place[1] / 255, seen, 0.0)
    picture = np.zeros((4, 4, 3), np.uint8)
    return Tick((picture,), words, None, trace, np.zeros((8, 7), np.uint8),
                np.zeros((8, 7), np.float32), marks.reshape(-1))  # fmt: skip


def test_the_way_down_is_kept_and_the_way_up_is_not() -> None:
    cut = ending_at_the_thing(tick("pick up the red cube", DOWN_AND_UP, CUBE, 1.0)).trace
    assert cut is not None and cut.dtype == np.uint8
    assert np.allclose(cut[:2], DOWN_AND_UP[:2])
    assert np.linalg.norm(cut[-1].astype(float) - CUBE) < 2.0
    assert 2 <= len(cut) <= 5


def test_a_cube_on_both_ways_is_met_on_the_first() -> None:
    line = np.array([[80, 20], [80, 100], [80, 20]], float)
    cut = cut_at(line, np.array([80.0, 60.0]))
    assert cut is not None and len(cut) == 2 and abs(cut[-1][1] - 60.0) < 2.0


def test_a_hand_at_the_cube_gets_a_stub_of_two_points() -> None:
    trace = np.array([[80, 99], [80, 60]], np.uint8)
    cut = ending_at_the_thing(tick("lift the red cube", trace, CUBE, 1.0)).trace
    assert cut is not None and len(cut) == 2
    assert np.abs(cut.astype(float) - CUBE).max() < 3.0


@pytest.mark.parametrize(
    ("words", "trace", "place", "seen"),
    [
        ("pick up the red cube", DOWN_AND_UP, CUBE, 0.0),
        ("pick up the red cube", DOWN_AND_UP, (200.0, 200.0), 1.0),
        ("pick up the red cube", None, CUBE, 1.0),
        ("pick up the red cube", DOWN_AND_UP[:1], CUBE, 1.0),
        ("wave", DOWN_AND_UP, CUBE, 1.0),
        ("put the red cube on the plate", np.array([[80, 99], [20, 60]], np.uint8), CUBE, 1.0),
    ],
    ids=["unseen", "elsewhere", "no trace", "one point", "no thing", "in the hand"],
)
def test_other_ticks_stay_as_they_are(
    words: str, trace: np.ndarray | None, place: tuple[float, float], seen: float
) -> None:
    made = tick(words, trace, place, seen)
    assert ending_at_the_thing(made) is made


def test_a_share_is_a_share() -> None:
    with pytest.raises(BadRecipe, match="cut is 1.5"):
        Recipe(cut=1.5)


def test_the_share_is_drawn_shorter_and_answered_alike(tmp_path: Path) -> None:
    scatterer = Scatterer(scatter_card(0.0))
    scatterer.share(Share(tmp_path, 1_000_000, frames=12))
    scatterer.close()
    assert main(["scatter", "--out", str(tmp_path), "--finish"]) == 0
    recipe = replace(PRESETS["micro-cpu"], reason=0.0, steer=1.0, mismatch=0.0, steps=1, batch=12)
    seen = []
    for cut in (0.0, 1e-9, 1.0):
        source = Source((tmp_path,), PACKAGED, replace(recipe, cut=cut), split="")
        visits = Visits(source)
        seen.append([visits[position] for position in range(12)])
    changed = [not np.array_equal(a.crops, b.crops) for a, b in zip(*seen[1:], strict=True)]
    assert 3 <= sum(changed) <= 12
    never = [not np.array_equal(a.crops, b.crops) for a, b in zip(*seen[:2], strict=True)]
    assert not any(never)
    for one, other in zip(*seen[1:], strict=True):
        assert np.array_equal(one.ids, other.ids)
