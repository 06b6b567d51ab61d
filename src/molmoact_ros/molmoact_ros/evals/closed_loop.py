"""One policy through many trials in one process: physics, both cameras and the policy.

A thought's result arrives late, as it does on a robot. Ground truth scores and nothing else; for
steering it also tells where the drawn path should lead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.demonstrate import truth_estimate
from molmoact_ros.evals.offline_robot import OfflineRobot
from molmoact_ros.evals.offline_rollout import Episode, Timing, run_episode
from molmoact_ros.evals.run_record import RunRecord, ThoughtRecord
from molmoact_ros.evals.variations import Trial
from molmoact_ros.policy.base import Observation, Policy, PolicyError
from molmoact_ros.policy.path_ahead import PathAhead
from molmoact_ros.policy.scripted.estimate import Hand
from molmoact_ros.policy.scripted.goals import PICK_UP, Goal
from molmoact_ros.policy.scripted.rollout import roll
from molmoact_ros.policy.scripted.trace import trace_of_path
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused
from molmoact_ros.sim.judge import Truth, Verdict
from molmoact_ros.sim.layout import scene_spec
from molmoact_ros.sim.objects import CUBES
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer
from molmoact_ros.sim.tasks import Task

NO_LINE = np.zeros((1, 2), np.float32)
"""A drawn path of one point draws nothing, but asks for actions alone."""
REACHED_M = 0.03
_LOW_M = 0.09
_TIMING = Timing()
Line = Callable[[Observation], NDArray[np.float32]]

Until = Literal["lifted", "cube"]


class BothCameras(SceneRenderer):
    """Renders both cameras whatever is asked: a model looks through the wrist camera too."""

    def render(self, qpos, spec=None, cameras=()) -> dict[str, CameraFrame]:  # type: ignore[no-untyped-def]
        return super().render(qpos, spec)


class Patient:
    """A policy whose refused answers are no rows: the arm rests, the gripper stays as commanded.

    line: steers every thought with what it returns. record: keeps every picture and thought.
    """

    needs_geometry = False

    def __init__(self, inner: Policy, plain: bool = False) -> None:
        self._inner, self._plain = inner, plain
        self.refused = 0
        self.line: Line | None = None
        self._ahead = PathAhead()
        self.record: RunRecord | None = None

    @property
    def description(self) -> str:
        return self._inner.description

    @property
    def codebook(self) -> str:
        return self._inner.codebook

    def reset(self, instruction: str) -> None:
        self._inner.reset(instruction)
        self.refused, self._ahead = 0, PathAhead()

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        if self.line is not None:
            drawn = self.line(observation)
            observation = replace(observation, steering=self._ahead.seen(observation, drawn))
        elif self._plain:
            observation = replace(observation, steering=NO_LINE)
        try:
            thought = self._inner.think(observation, canceled)
        except ThoughtRefused as refusal:
            self.refused += 1
            no_trace, no_rows = np.zeros((0, 2), np.float32), np.zeros((0, 7))
            thought = Thought(refusal.text, None, no_trace, no_rows)
        if self.record is not None:
            self._keep(self.record, observation, thought)
        return thought

    def _keep(self, record: RunRecord, seen: Observation, thought: Thought) -> None:
        number = len(record.thoughts) + 1
        depth = () if thought.depth is None else tuple(int(c) for c in thought.depth.flat)
        record.thoughts.append(
            ThoughtRecord(
                number, seen.stamp, seen.instruction, self.description, False, "", depth,
                tuple(tuple(map(float, point)) for point in thought.trace),
                tuple(tuple(map(float, row)) for row in thought.actions),
                dict(thought.timings), thought.text, self.codebook,
            )
        )  # fmt: skip
        path: NDArray[np.float32] = np.zeros((0, 2), np.float32)
        if seen.steering is not None and len(seen.steering) > 1:
            path = seen.steering
        record.add_frame(seen.stamp, seen.images[0], seen.images[1], "", path, 0)


@dataclass(frozen=True)
class Steering:
    """A path drawn to ``cube`` while the words name another one."""

    cube: str
    line: Line


class Arena:
    """The simulated robot and its cameras for many trials."""

    def __init__(self, timing: Timing = _TIMING, rows: int = 300) -> None:
        spec = scene_spec(0)
        self.robot, self._renderer = OfflineRobot(spec), BothCameras(spec)
        self._timing, self._rows = timing, rows

    def close(self) -> None:
        self._renderer.close()

    def run(self, policy: Patient, trial: Trial, guided: bool = False) -> dict[str, Any]:
        """One trial as the row of a table. guided: with the expert's path for the same task."""
        self.robot.reset(trial.scene)
        task = trial.task
        goal = Goal(task.family, task.cube, task.target or "")
        policy.line = self._path_of(goal) if guided else None
        episode = self._episode(policy, trial, trial.task)
        return self._row(policy, trial, episode) | {"success": episode.verdict.success}

    def run_steered(self, policy: Patient, trial: Trial, until: Until = "lifted") -> dict[str, Any]:
        """As ``run`` with a path drawn to another cube than the words name.

        Success: the tool comes to the drawn cube (within 3 cm, low) and not to the named one
        before. ``lifted``: it was picked up as well. until: where the stroke ends.
        """
        self.robot.reset(trial.scene)
        steering = self.steering(trial, until)
        policy.line = steering.line
        episode = self._episode(policy, trial, Task(PICK_UP, steering.cube))
        first = first_reached(episode.truths)
        return self._row(policy, trial, episode) | {
            "success": first == steering.cube,
            "drawn": steering.cube,
            "named": trial.task.cube,
            "reached": first,
            "lifted": episode.verdict.success,
        }

    def steering(self, trial: Trial, until: Until = "lifted") -> Steering:
        """The path that the expert would draw to another cube: one stroke, drawn at the start.

        It ends where the cube is lifted, as in training, or at the cube.
        """
        cube = other_cube(trial)
        path, drawn = self._path_of(Goal(PICK_UP, cube), until), list[NDArray[np.float32]]()

        def stroke(seen: Observation) -> NDArray[np.float32]:
            if not drawn:
                drawn.append(path(seen))
            return drawn[0]

        return Steering(cube, stroke)

    def _path_of(self, goal: Goal, until: Until = "lifted") -> Line:
        def line(seen: Observation) -> NDArray[np.float32]:
            robot = self.robot
            estimate = truth_estimate(robot, None)
            hand = Hand(robot.command, robot.tcp, robot.width)
            if seen.camera is None:
                raise PolicyError("steering needs the external camera's calibration")
            path = roll(estimate, hand, goal).path
            if until == "cube":
                path = path[: int(np.argmin(path[:, 2])) + 1]
            return trace_of_path(path, seen.camera).astype(np.float32)

        return line

    def _episode(self, policy: Patient, trial: Trial, task: Task) -> Episode:
        try:
            return run_episode(
                self.robot, self._renderer, policy, task, trial.instruction, self._timing,
                self._rows,
            )  # fmt: skip
        except PolicyError as error:
            return Episode(Verdict(False, str(error)))

    def _row(self, policy: Patient, trial: Trial, episode: Episode) -> dict[str, Any]:
        return {
            "family": trial.family,
            "seed": trial.seed,
            "variation": trial.variation,
            "instruction": trial.instruction,
            "seconds": round(episode.seconds, 2),
            "message": episode.verdict.words,
            "thoughts": len(episode.thoughts),
            "refused": policy.refused,
        }


def first_reached(truths: Iterable[Truth]) -> str:
    """The cube that the tool came to first: within 3 cm of its middle, low; "" for none."""
    for truth in truths:
        for cube in CUBES:
            away = truth.objects[cube].position - truth.tcp.position
            if np.hypot(away[0], away[1]) < REACHED_M and abs(away[2]) < _LOW_M:
                return cube
    return ""


def other_cube(trial: Trial) -> str:
    """The cube to which a path is drawn, another than the words name."""
    others = [name for name in CUBES if name != trial.task.cube]
    return others[trial.seed % len(others)]
