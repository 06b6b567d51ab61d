"""The small trained policy of the package: what it claims, what it writes, that it drives."""

from __future__ import annotations

import json

import numpy as np
import pytest

from molmoact_ros.data.card import load_card
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.evals.closed_loop import Arena, BothCameras, Patient
from molmoact_ros.evals.offline_robot import OfflineRobot
from molmoact_ros.evals.offline_rollout import observe
from molmoact_ros.evals.variations import make_trial
from molmoact_ros.policy.factory import PACKAGED, PolicySpec, make_policy
from molmoact_ros.policy.startup_checks import RobotDescription
from molmoact_ros.sim.layout import scene_spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MOST_MB = 60.0
SEEDS = (0, 1, 2)
NEAR_GRID = 12.0
"""Of the 0..255 grid."""


@pytest.fixture(scope="module")
def patient() -> Patient:
    spec = PolicySpec("molmoact", device="cpu", robot=RobotDescription())
    return Patient(make_policy(spec))


def test_its_card_says_who_made_it_and_travels_with_it() -> None:
    text = (PACKAGED / "README.md").read_text(encoding="utf-8")
    assert "trained by us" in text.lower() and "RANDOM" not in text
    card = load_card(PACKAGED)
    statistics = json.loads((PACKAGED / "dataset_statistics.json").read_text(encoding="utf-8"))
    assert list(statistics) == [card.name]
    assert card.depth_codebook == DepthLabeller().codebook, "its depth codes mean what is drawn"
    weights = sum(path.stat().st_size for path in PACKAGED.parent.rglob("*.safetensors"))
    assert weights < MOST_MB * 1e6


def test_it_drives_scenes_it_never_saw(patient: Patient) -> None:
    """Seeds below 100000 are for scoring; a broken tokenizer, picture order or scale fails all."""
    arena = Arena(rows=200)
    rows = [arena.run(patient, make_trial("pick_up", seed)) for seed in SEEDS]
    arena.close()
    assert not any(row["refused"] for row in rows)
    assert any(row["success"] for row in rows), rows


def test_its_trace_begins_at_the_tool_and_follows_the_words(patient: Patient) -> None:
    renderer, spec = BothCameras(scene_spec(1)), scene_spec(1)
    robot = OfflineRobot(spec)
    robot.reset(spec)
    frames = renderer.render(robot.data.qpos, spec)
    renderer.close()
    camera = frames["external"].camera
    tool = camera.grid_from_pixels(camera.project(robot.tcp.position[None])[0])[0]
    for cube in ("red_cube", "blue_cube"):
        words = f"pick up the {cube.replace('_', ' ')}"
        patient.reset(words)
        thought = patient.think(observe(robot, frames, words), lambda: False)
        assert thought.depth is not None and thought.actions.shape == (8, 7)
        assert np.linalg.norm(thought.trace[0] - tool) < NEAR_GRID
        at = camera.project(spec.poses[cube].position[None])[0]
        near = np.linalg.norm(thought.trace - camera.grid_from_pixels(at)[0], axis=1).min()
        assert near < 2 * NEAR_GRID, f"the trace passes {cube} by {near:.0f} units"
