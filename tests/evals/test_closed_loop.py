"""A trial in one process: what the policy is asked, what counts, what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.cli import main
from molmoact_ros.evals import command
from molmoact_ros.evals.closed_loop import Arena, Patient
from molmoact_ros.evals.offline_rollout import run_episode
from molmoact_ros.evals.run_record import RunRecord
from molmoact_ros.evals.variations import make_trial
from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.factory import PolicySpec
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused


class Fake:
    """Moves up a little; refuses every second thought when told to."""

    description = "fake"
    needs_geometry = False
    codebook = ""

    def __init__(self, refuses: bool = False) -> None:
        self.seen: list[Observation] = []
        self._refuses = refuses

    def reset(self, instruction: str) -> None:
        self.seen.clear()

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        self.seen.append(observation)
        if self._refuses and len(self.seen) % 2 == 0:
            raise ThoughtRefused("no rows", "half an answer")
        rows = np.zeros((8, 7))
        rows[:, 2], rows[:, 6] = 0.005, 1.0
        return Thought("text", np.zeros((10, 10), np.uint8), np.ones((2, 2), np.float32), rows)


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    made = Arena(rows=12)
    yield made
    made.close()


def test_a_policy_that_does_nothing_useful_fails_and_is_counted(arena: Arena) -> None:
    fake = Fake()
    row = arena.run(Patient(fake), make_trial("pick_up", 0))
    assert not row["success"] and row["thoughts"] == 3 == len(fake.seen)
    assert len(fake.seen[0].images) == 2, "a model looks through both cameras"
    assert all(seen.steering is None for seen in fake.seen)
    assert row["instruction"] == fake.seen[0].instruction


def test_a_refused_answer_is_a_rest_and_not_the_end(arena: Arena) -> None:
    patient = Patient(Fake(refuses=True))
    row = arena.run(patient, make_trial("pick_up", 0))
    assert row["refused"] == 1 and row["thoughts"] == 3


def test_a_refused_answer_keeps_hold_of_what_is_carried(arena: Arena) -> None:
    """An open hand would drop the cube for a wrong word."""

    class Closing(Fake):
        def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
            thought = super().think(observation, canceled)
            if len(self.seen) > 1:
                raise ThoughtRefused("no rows")
            thought.actions[:, 6] = 0.0
            return thought

    trial, patient = make_trial("pick_up", 0), Patient(Closing())
    arena.robot.reset(trial.scene)
    episode = run_episode(arena.robot, arena._renderer, patient, trial.task, rows=30)
    assert patient.refused == len(episode.thoughts) - 1 > 5
    assert arena.robot.width < 0.01, "closed by the first thought, never told to open"
    moved = [float(truth.tcp.position[2]) for truth in episode.truths]
    assert moved[9] > moved[5] + 0.01, "rows that were good still run out"


def test_steering_draws_from_the_tool_to_another_cube_than_the_words_name(arena: Arena) -> None:
    fake, trial = Fake(), make_trial("pick_up", 1)
    row = arena.run_steered(Patient(fake), trial)
    assert row["drawn"] != row["named"] == trial.task.cube
    assert row["reached"] == "" and not row["success"]
    for seen in fake.seen:
        assert seen.steering is not None and seen.camera is not None and seen.ee_pose is not None
        tool = seen.camera.grid_from_pixels(seen.camera.project(seen.ee_pose.position[None])[0])
        assert np.abs(seen.steering[0] - tool[0]).max() < 2.0
    drawn = trial.scene.poses[row["drawn"]].position
    camera, line = fake.seen[0].camera, fake.seen[0].steering
    assert camera is not None and line is not None
    aim = camera.grid_from_pixels(camera.project(drawn[None])[0])[0]
    assert np.linalg.norm(line - aim, axis=1).min() < 15.0


def test_a_stroke_may_end_at_the_cube(arena: Arena) -> None:
    lines = []
    for until in ("lifted", "cube"):
        fake = Fake()
        arena.run_steered(Patient(fake), make_trial("pick_up", 1), until)
        lines.append(fake.seen[0].steering)
    camera, drawn = fake.seen[0].camera, arena.steering(make_trial("pick_up", 1)).cube
    assert camera is not None
    place = make_trial("pick_up", 1).scene.poses[drawn].position
    aim = camera.grid_from_pixels(camera.project(place[None])[0])[0]
    away = [float(np.linalg.norm(line[-1] - aim)) for line in lines]
    assert away[1] < 10.0 < away[0]


def test_a_guided_trial_draws_the_way_to_the_named_cube(arena: Arena) -> None:
    fake, trial = Fake(), make_trial("put_on", 1)
    row = arena.run(Patient(fake), trial, guided=True)
    assert not row["success"] and len(fake.seen) == row["thoughts"]
    camera, line = fake.seen[0].camera, fake.seen[0].steering
    assert camera is not None and line is not None
    for thing in (trial.task.cube, "plate"):
        aim = camera.grid_from_pixels(camera.project(trial.scene.poses[thing].position[None])[0])[0]
        assert np.linalg.norm(line - aim, axis=1).min() < 15.0, thing


def test_a_film_keeps_every_thought_with_its_pictures(arena: Arena) -> None:
    patient = Patient(Fake())
    patient.record = RunRecord("x")
    arena.run(patient, make_trial("pick_up", 0))
    assert len(patient.record.thoughts) == len(patient.record.frames) == 3
    assert patient.record.thoughts[0].depth == (0,) * 100
    assert patient.record.frames[-1].wrist


def test_the_command_writes_its_table_and_refuses_training_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "sim", "--policy", "scripted", "--families", "pick_up", "--out", str(tmp_path)]
    assert main([*words, "--seeds", "1", "--rows", "6"]) == 0
    printed = capsys.readouterr().out
    assert "FAIL pick_up none seed 0" in printed and "0/1" in printed
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["trials"][0]["family"] == "pick_up"
    assert main([*words, "--first-seed", "100000", "--seeds", "1"]) == 2
    assert "demonstrations" in capsys.readouterr().err


def test_the_command_asks_for_the_statistics_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[PolicySpec] = []

    def refuse(spec: PolicySpec) -> None:
        asked.append(spec)
        raise PolicyError("no such key")

    monkeypatch.setattr(command, "make_policy", refuse)
    words = ["eval", "sim", "--checkpoint", "mine", "--seeds", "1", "--out", str(tmp_path)]
    assert main([*words, "--unnorm-key", "fr3"]) == 2
    assert (asked[0].checkpoint, asked[0].unnorm_key) == ("mine", "fr3")
    assert "no such key" in capsys.readouterr().err
