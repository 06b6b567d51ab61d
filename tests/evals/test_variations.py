"""Scoring: what varies, what does not, and how shares are counted."""

from __future__ import annotations

import itertools

import mujoco
import numpy as np
import pytest

from molmoact_ros.data.demonstrate import FIRST_SEED
from molmoact_ros.data.scatter_states import draw_state
from molmoact_ros.evals.table import share_of, success_table
from molmoact_ros.evals.variations import (
    SIDE_X,
    SIDE_Y,
    UNSEEN_WORDINGS,
    VARIATIONS,
    make_trial,
)
from molmoact_ros.geometry import Pose
from molmoact_ros.sim.cameras import EXTERNAL
from molmoact_ros.sim.layout import LightSpec, minimum_distance, scene_spec
from molmoact_ros.sim.reach import reach
from molmoact_ros.sim.scene import HOME_Q, build_model, tcp_pose
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
        "place": all(
            np.allclose(varied.scene.poses[name].position, plain.scene.poses[name].position)
            for name in plain.scene.visible
        ),
        "light": varied.scene.light == plain.scene.light,
        "camera": varied.scene.external == plain.scene.external,
        "distractors": varied.scene.hidden == plain.scene.hidden,
    }
    assert [name for name, equal in same.items() if not equal] == (
        [] if variation == "none" else [variation]
    )


@pytest.fixture(scope="module")
def shown() -> np.ndarray:
    """Where things rest in what a policy is trained on, [N, 2]."""
    states = [draw_state(FIRST_SEED + seed) for seed in range(200)]
    return np.array(
        [
            item.position[:2]
            for state in states
            for name, item in state.estimate.items.items()
            if name != state.estimate.held
        ]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_task_is_about_stands_farther_out_than_any_training_state(
    family: str, shown: np.ndarray
) -> None:
    camera = EXTERNAL.camera(320, 240)
    for seed in range(50):
        trial = make_trial(family, seed, "place")
        poses, about = trial.scene.poses, {trial.task.cube, trial.task.target} - {None}
        for name in about:
            x, y, height = poses[name].position
            assert abs(y) > np.abs(shown[:, 1]).max() + 0.02, f"seed {seed}: {name} at {y:.2f}"
            assert SIDE_X[0] <= x <= SIDE_X[1] and abs(y) <= SIDE_Y[1] and height < 0.03
            others = [other for other in trial.scene.visible if other != name]
            for other in others:
                gap = np.linalg.norm(poses[name].position[:2] - poses[other].position[:2])
                assert gap >= minimum_distance(name, other) - 1e-9
            pixel = camera.project(poses[name].position[None])[0][0]
            assert (pixel > 12).all() and (pixel < np.array([308, 228])).all(), "in the picture"
        plain = scene_spec(seed).poses
        for name in set(trial.scene.visible) - about:
            assert (poses[name].position == plain[name].position).all(), "the rest stays"


def test_the_arm_reaches_every_corner_of_the_places_beside() -> None:
    spec = scene_spec(0)
    model = build_model(spec)
    data = mujoco.MjData(model)
    for x, y, side, z in itertools.product(SIDE_X, SIDE_Y, (-1.0, 1.0), (0.02, 0.22)):
        wanted = Pose(np.array([x, side * y, z]), np.array([1.0, 0.0, 0.0, 0.0]))
        reach(model, data, HOME_Q, wanted)
        assert np.linalg.norm(tcp_pose(data).position - wanted.position) < 1e-3, (x, side * y, z)


def test_other_light_is_half_or_half_again_lower_and_of_another_colour() -> None:
    def slope(light: LightSpec) -> float:
        return float(np.hypot(*light.direction[:2]) / -light.direction[2])

    plain = [scene_spec(seed).light for seed in range(200)]
    varied = [make_trial("pick_up", seed, "light").scene.light for seed in range(200)]
    shares = [b.intensity / a.intensity for a, b in zip(plain, varied, strict=True)]
    assert {round(share, 9) for share in shares} == {0.5, 1.5}
    assert min(map(slope, varied)) > max(map(slope, plain)) + 0.1
    assert {light.warmth for light in varied} == {-2.0, 2.0}
    assert max(abs(light.warmth) for light in plain) <= 1.0
    assert max(light.intensity for light in varied) <= 1.0


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
