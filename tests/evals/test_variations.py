"""Scoring: what varies, what does not, and how shares are counted."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.evals.table import share_of, success_table
from molmoact_ros.evals.variations import UNSEEN_WORDINGS, VARIATIONS, make_trial
from molmoact_ros.sim.layout import minimum_distance, scene_spec
from molmoact_ros.sim.tasks import FAMILIES, WORDINGS, understand


@pytest.mark.parametrize("family", FAMILIES)
def test_unseen_words_mean_the_same_task(family: str) -> None:
    """Otherwise the score would count a question nobody understands as a failure."""
    for seed in range(40):
        trial = make_trial(family, seed, "language")
        assert understand(trial.instruction) == trial.task
    assert not set(UNSEEN_WORDINGS[family]) & set(WORDINGS[family])


@pytest.mark.parametrize("variation", [v for v in VARIATIONS if v != "language"])
def test_other_variations_change_the_scene_and_nothing_else(variation: str) -> None:
    plain, varied = make_trial("put_on", 3), make_trial("put_on", 3, variation)
    assert varied.instruction == plain.instruction and varied.task == plain.task
    same = {
        "place": np.allclose(varied.scene.poses["red_cube"].position, plain_pose("red_cube")),
        "light": varied.scene.light == plain.scene.light,
        "camera": varied.scene.external == plain.scene.external,
        "distractors": varied.scene.hidden == plain.scene.hidden,
    }
    assert [name for name, equal in same.items() if not equal] == (
        [] if variation == "none" else [variation]
    )


def plain_pose(name: str) -> np.ndarray:
    return scene_spec(3).poses[name].position


def test_more_distractors_stand_where_fingers_still_fit() -> None:
    for seed in range(8):
        scene = make_trial("pick_up", seed, "distractors").scene
        assert len(scene.hidden) < len(scene_spec(seed).hidden) or not scene_spec(seed).hidden
        for a in scene.visible:
            for b in scene.visible:
                if a < b and "distractor" in a + b:
                    gap = np.linalg.norm(scene.poses[a].position[:2] - scene.poses[b].position[:2])
                    assert gap >= minimum_distance(a, b) - 1e-9


def test_an_unknown_variation_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of none, language"):
        make_trial("pick_up", 0, "music")


def test_shares_have_wilson_intervals() -> None:
    """10 of 10 does not mean 100 %; values from Wilson's formula."""
    share = share_of([True] * 10)
    assert (share.low, share.high) == (pytest.approx(0.7225, abs=1e-4), pytest.approx(1.0))
    half = share_of([True, False] * 10)
    assert half.low == pytest.approx(0.2993, abs=1e-4)
    assert share_of([]).interval == "0..100 %"


def test_the_table_counts_by_family_or_by_variation() -> None:
    rows = [
        {"family": f, "variation": v, "success": ok, "seconds": 4.0, "thoughts": 3, "refused": 1}
        for f, v, ok in (("pick_up", "none", True), ("pick_up", "light", False))
    ]
    table = success_table(rows)
    assert "pick_up" in table and "1/2" in table and " 6" in table
    by_variation = success_table(rows, by="variation").splitlines()
    assert len(by_variation) == 3 and "0/1" in by_variation[2]
