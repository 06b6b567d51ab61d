"""Close the loop without ROS: physics, cameras and a policy in one process, for fast scoring.

Thoughts arrive late as they do on a robot; ground truth only scores. `molmoact eval sim` uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.evals.offline_robot import ROW_S, OfflineRobot
from molmoact_ros.policy.base import Observation, Policy
from molmoact_ros.policy.goal import STILL_MOTION
from molmoact_ros.reasoning.thought import Thought
from molmoact_ros.sim.judge import Judge, Truth, Verdict
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer
from molmoact_ros.sim.scene import object_poses
from molmoact_ros.sim.tasks import Task

REST_S = 2.0


@dataclass(frozen=True)
class Timing:
    """rethink: rows between thoughts. latency: rows a thought takes until it is followed."""

    rethink: int = 4
    latency: int = 2


@dataclass
class Episode:
    """What happened. seconds: robot time. truths: one a row, for scoring and drawing only."""

    verdict: Verdict
    seconds: float = 0.0
    thoughts: list[Thought] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)


def observe(robot: OfflineRobot, frames: dict[str, CameraFrame], instruction: str) -> Observation:
    """The observation a robot would build: depth in whole millimetres, no ground truth."""
    external = frames["external"]
    millimetres = np.clip(np.rint(external.depth * 1000.0), 0, 65535)
    return Observation(
        stamp=float(robot.data.time),
        images=tuple(frame.rgb for frame in frames.values()),
        instruction=instruction,
        depth=(millimetres / 1000.0).astype(np.float32),
        camera=external.camera,
        ee_pose=robot.tcp,
        target_pose=robot.command,
        gripper_width=robot.width,
    )


def run_episode(
    robot: OfflineRobot,
    renderer: SceneRenderer,
    policy: Policy,
    task: Task,
    instruction: str = "",
    timing: Timing = Timing(),
    rows: int = 300,
) -> Episode:
    """Follow ``policy`` for ``rows`` rows, or until it has asked for no motion for two seconds.

    The robot is where the last episode or ``reset`` left it. A thought without rows changes
    nothing: older rows run out, then arm and gripper stay. ``instruction`` defaults to the task's
    first wording. Raises what the policy raises.
    """
    instruction = instruction or task.instruction()
    judge, episode = Judge(task), Episode(Verdict(False, "nothing seen yet"))
    policy.reset(instruction)
    running: NDArray[np.float64] = np.zeros((0, 7))
    pending: NDArray[np.float64] | None = None
    due = arrives = executed = still = 0
    gripper = 1.0
    for index in range(rows):
        if index >= due and pending is None:
            frames = renderer.render(robot.data.qpos, robot.spec, cameras=("external",))
            thought = policy.think(observe(robot, frames, instruction), lambda: False)
            episode.thoughts.append(thought)
            if len(thought.actions):
                pending, executed = thought.actions, 0
            arrives, due = index + timing.latency, index + timing.rethink
            moves = np.abs(thought.actions[:, :6]).sum(axis=0).max() > STILL_MOTION
            still = 0 if moves else still + 1
        if pending is not None and index >= arrives:
            # As control.chunk_queue does: rows executed since the image belong to the past,
            # an arm that ran out of rows meanwhile has executed none.
            running, pending = pending[executed:], None
        executed += bool(len(running))
        row = running[0] if len(running) else np.append(np.zeros(6), gripper)
        running, gripper = running[1:], float(row[6])
        robot.row(row)
        truth = Truth(float(robot.data.time), object_poses(robot.data), robot.tcp, robot.width)
        episode.truths.append(truth)
        episode.verdict = judge.update(truth)
        if still * timing.rethink * ROW_S > REST_S:
            break
    episode.seconds = len(episode.truths) * ROW_S
    return episode
