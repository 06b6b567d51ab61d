"""``molmoact demonstrate --out BAGS``: the scripted expert shows what it can, without ROS.

The same memoryless rule that the scripted policy follows, fed with the simulation's true poses,
one decision a row. Now and then something pushes the arm aside: those ticks are marked as not to
be imitated, the expert's recovery is what is learned from them. Episodes go into bags with the
topics a recorder writes, so ``molmoact label`` treats them like a robot's.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from molmoact_ros.data.bag_source import BagTopics
from molmoact_ros.data.bag_writing import DemonstrationBag
from molmoact_ros.evals.offline_robot import ROW_S, OfflineRobot
from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.policy.scripted.estimate import Estimate, Hand, Item, grip
from molmoact_ros.policy.scripted.expert import next_row
from molmoact_ros.policy.scripted.goals import Goal
from molmoact_ros.policy.scripted.percept import BOWL, CUBES, PLATE, square_angle
from molmoact_ros.sim.judge import Judge, Truth
from molmoact_ros.sim.layout import scene_spec
from molmoact_ros.sim.renderer import SceneRenderer
from molmoact_ros.sim.scene import object_poses
from molmoact_ros.sim.tasks import FAMILIES, Task, sample_instruction, sample_task

FIRST_SEED = 100_000
"""Scenes below are for scoring and are never shown to a model."""
LONGEST_ROWS = 240
REST_ROWS = 12
_FRAME = "external_color_optical_frame"
_EPOCH_NS = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class Disturbances:
    """chance: that one starts at a row; rows: how long it lasts; metres, radians: a row's push.

    start_rows: at most so many rows of random motion before the recording starts.
    """

    chance: float = 0.03
    rows: tuple[int, int] = (3, 9)
    metres: float = 0.010
    radians: float = 0.05
    start_rows: int = 30


@dataclass(frozen=True)
class Demonstration:
    """seed: of scene, task and wording. jitter: of the cameras, see ``sim.cameras``."""

    family: str
    seed: int
    out: Path
    width: int = 320
    jitter: float = 0.0
    disturbances: Disturbances = Disturbances()


def true_items(poses: Mapping[str, Pose]) -> dict[str, Item]:
    """Cubes, plate and bowl as an estimate holds them, from true poses of all things."""
    return {
        name: Item(poses[name].position, square_angle(poses[name].yaw))
        for name in (*CUBES, PLATE, BOWL)
        if name in poses
    }


def truth_estimate(robot: OfflineRobot, before: Estimate | None) -> Estimate:
    """What the expert should know, from true poses; ``held`` follows the finger width."""
    items = true_items(object_poses(robot.data))
    held = before.held if before is not None else None
    estimate = Estimate(0.0, items, held if held in items else None)
    return grip(estimate, Hand(robot.command, robot.tcp, robot.width))


class Demonstrator:
    """One simulated robot and its cameras for many episodes of one process."""

    def __init__(self, width: int) -> None:
        spec = scene_spec(0)
        self._robot = OfflineRobot(spec)
        self._renderer = SceneRenderer(spec, width, width * 3 // 4)
        self._topics = BagTopics()

    def record(self, wanted: Demonstration) -> bool:
        """Write one bag; whether the task was done. The bag says so either way."""
        rng = np.random.default_rng([77, wanted.seed])
        robot, task = self._robot, sample_task(wanted.family, wanted.seed)
        instruction = sample_instruction(wanted.family, wanted.seed)
        robot.reset(scene_spec(wanted.seed, camera_jitter=wanted.jitter))
        self._wander(rng, wanted.disturbances)
        name = f"sim_{wanted.family}_{wanted.seed:07d}"
        custom = {
            "episode_id": name,
            "task": instruction,
            "operator": "scripted expert",
            "scene": f"seed {wanted.seed}",
            "state": "complete",
        }
        with DemonstrationBag(wanted.out / name, custom, self._topics) as bag:
            done = self._episode(bag, task, rng, wanted.disturbances)
            bag.note("outcome", "success" if done else "failure")
        return done

    def close(self) -> None:
        self._renderer.close()

    def _wander(self, rng: np.random.Generator, how: Disturbances) -> None:
        if not how.start_rows:
            return
        push = self._push(rng, how) * rng.uniform(0.3, 1.2)
        for _ in range(int(rng.integers(0, how.start_rows))):
            self._robot.row(np.append(self._inside(push), 1.0))

    def _episode(
        self, bag: DemonstrationBag, task: Task, rng: np.random.Generator, how: Disturbances
    ) -> bool:
        robot, judge = self._robot, Judge(task)
        goal = Goal(task.family, task.cube, task.target or "")
        estimate: Estimate | None = None
        push: Floats = np.zeros(6)
        pushed = 0
        gripper, resting, done = -1.0, 0, False
        for row in range(LONGEST_ROWS):
            stamp = _EPOCH_NS + round(row * ROW_S * 1e9)
            estimate = truth_estimate(robot, estimate)
            decided = next_row(estimate, Hand(robot.command, robot.tcp, robot.width), goal)
            if not pushed and rng.random() < how.chance and not done:
                pushed, push = int(rng.integers(*how.rows)), self._push(rng, how)
            self._observe(bag, stamp, row == 0)
            bag.flag(self._topics.clean, stamp, pushed == 0)
            if decided.gripper != gripper:
                bag.number(self._topics.gripper, stamp, decided.gripper)
                gripper = decided.gripper
            delta = self._inside(decided.delta + push) if pushed else decided.delta
            pushed = max(0, pushed - 1)
            robot.row(np.append(delta, decided.gripper))
            truth = Truth(float(robot.data.time), object_poses(robot.data), robot.tcp, robot.width)
            done = judge.update(truth).success
            resting = resting + 1 if done and not np.any(np.abs(decided.delta) > 1e-9) else 0
            if resting >= REST_ROWS:
                break
        self._observe(bag, _EPOCH_NS + round((row + 1) * ROW_S * 1e9), False)
        return done

    def _observe(self, bag: DemonstrationBag, stamp: int, first: bool) -> None:
        robot, topics = self._robot, self._topics
        frames = self._renderer.render(robot.data.qpos, robot.spec)
        if first:
            bag.calibration(stamp, frames["external"].camera, _FRAME)
        for name, topic in topics.images:
            bag.colour(topic, stamp, frames[name].rgb)
        bag.depth(topics.depth, stamp, frames["external"].depth)
        bag.pose(topics.measured, stamp, robot.tcp)
        bag.pose(topics.commanded, stamp, robot.command)
        bag.fingers(topics.fingers, stamp, robot.width)

    def _push(self, rng: np.random.Generator, how: Disturbances) -> Floats:
        move = rng.normal(0.0, 1.0, 3)
        move *= how.metres / max(float(np.linalg.norm(move)), 1e-9)
        move[2] = abs(move[2]) * rng.choice([1.0, 1.0, -0.5])
        return np.array([*move, 0.0, 0.0, rng.uniform(-how.radians, how.radians)])

    def _inside(self, delta: Floats) -> Floats:
        """Pushes leave neither the workspace nor the wrist's range, and never press down."""
        out = delta.copy()
        aim: Pose = self._robot.command.moved(out)
        low, high = np.array([0.30, -0.32, 0.04]), np.array([0.68, 0.32, 0.42])
        out[:3] = np.clip(aim.position, low, high) - self._robot.command.position
        if abs(aim.yaw) > 1.1:
            out[5] = 0.0
        return out


def record_share(wanted: list[Demonstration]) -> list[bool]:
    """Record several in this process."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    demonstrator = Demonstrator(wanted[0].width)
    results = [demonstrator.record(one) for one in wanted]
    demonstrator.close()
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact demonstrate``."""
    parser.add_argument("--out", type=Path, required=True, help="folder for the bags")
    parser.add_argument("--episodes", type=int, default=200, help="of each family")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--width", type=int, default=320, help="pixels; the height follows 4:3")
    parser.add_argument("--jitter", type=float, default=0.0, help="of the cameras' mounts")
    parser.add_argument("--disturb", type=float, default=0.03, help="chance of a push at a row")
    parser.add_argument("--jobs", type=int, default=1, help="processes")


def run(values: argparse.Namespace) -> int:
    """Record what is not there yet; the exit status."""
    if values.first_seed < FIRST_SEED:
        sys.stderr.write(f"molmoact demonstrate: seeds below {FIRST_SEED} are for scoring\n")
        return 2
    values.out.mkdir(parents=True, exist_ok=True)
    how = Disturbances(chance=values.disturb)
    wanted = [
        Demonstration(family, seed, values.out, values.width, values.jitter, how)
        for seed in range(values.first_seed, values.first_seed + values.episodes)
        for family in values.families
        if not (values.out / f"sim_{family}_{seed:07d}").exists()
    ]
    started, done, good = time.monotonic(), 0, 0
    for results in _shares(wanted, values.jobs):
        done, good = done + len(results), good + sum(results)
        left = (time.monotonic() - started) / done * (len(wanted) - done)
        sys.stderr.write(f"\r{done}/{len(wanted)} episodes, {good} done, {left:.0f} s left    ")
        sys.stderr.flush()
    sys.stderr.write("\n")
    return 0


def _shares(wanted: list[Demonstration], jobs: int) -> Iterator[list[bool]]:
    shares = [wanted[i : i + 10] for i in range(0, len(wanted), 10)]
    if jobs <= 1:
        yield from map(record_share, shares)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(record_share, shares)
