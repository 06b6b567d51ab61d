"""Close the loop without ROS: physics, cameras and a policy in one process, for fast scoring.

Thoughts arrive late as they do on a robot; ground truth only scores.
Run: python -m molmoact_ros.evals.offline_rollout --seeds 10
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.evals.offline_robot import ROW_S, OfflineRobot
from molmoact_ros.policy.base import Observation, Policy, PolicyError
from molmoact_ros.reasoning.thought import Thought
from molmoact_ros.sim.judge import Judge, Truth, Verdict
from molmoact_ros.sim.layout import scene_spec
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer
from molmoact_ros.sim.scene import object_poses
from molmoact_ros.sim.tasks import FAMILIES, Task, sample_instruction, sample_task

STILL_MOTION = 2e-3
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

    The robot is where the last episode or ``reset`` left it. ``instruction`` defaults to the
    task's first wording. Raises what the policy raises.
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


def main(argv: list[str] | None = None) -> int:
    """Score the scripted policy over families and seeds; prints a line an episode and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=320, help="pixels; the height follows 4:3")
    parser.add_argument("--rethink", type=int, default=4, help="rows between thoughts")
    parser.add_argument("--latency", type=int, default=2, help="rows a thought takes")
    options = parser.parse_args(argv)

    from molmoact_ros.model.depth_codec import DepthCodec
    from molmoact_ros.policy.scripted.policy import ScriptedPolicy

    policy = ScriptedPolicy(DepthCodec.from_package())
    spec = scene_spec(0)
    robot = OfflineRobot(spec)
    renderer = SceneRenderer(spec, options.width, options.width * 3 // 4)
    timing = Timing(options.rethink, options.latency)
    table = []
    for family in options.families:
        done, seconds, thinking = 0, [], []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            task = sample_task(family, seed)
            robot.reset(scene_spec(seed))
            instruction, start = sample_instruction(family, seed), time.perf_counter()
            try:
                episode = run_episode(robot, renderer, policy, task, instruction, timing)
            except PolicyError as error:
                episode = Episode(Verdict(False, str(error)))
            done += episode.verdict.success
            seconds.append(episode.seconds)
            thinking += [sum(thought.timings.values()) for thought in episode.thoughts]
            sys.stdout.write(
                f"{family} seed {seed}: {episode.verdict.words} [{instruction}] "
                f"{episode.seconds:.1f} s, {len(episode.thoughts)} thoughts, "
                f"took {time.perf_counter() - start:.1f} s\n"
            )
            sys.stdout.flush()
        table.append(
            f"| {family} | {done}/{options.seeds} | {np.mean(seconds):.1f} "
            f"| {1000 * float(np.median(thinking or [0.0])):.0f} |"
        )
    head = ["| family | success | mean seconds | median ms a thought |", "|---|---|---|---|"]
    sys.stdout.write("\n".join(head + table) + "\n")
    renderer.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
