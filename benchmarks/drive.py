"""Closed loop of a checkpoint in simulation without ROS: success by ground truth over seeds.

    ./run shell python benchmarks/drive.py --checkpoint FOLDER --seeds 20

Physics, both cameras and the policy run in one process; a thought's result arrives late, as it
does on a robot. Seeds below 100000 are never in the demonstrations of `molmoact demonstrate`.
`--ask act` asks for actions alone (for a network trained so). Prints a table with 95 % Wilson
intervals and writes benchmarks/results/drive_<name>.json. For the whole stack through ROS topics
and franky use benchmarks/success.py.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from molmoact_ros.evals.offline_robot import OfflineRobot
from molmoact_ros.evals.offline_rollout import Timing, run_episode
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused
from molmoact_ros.sim.layout import scene_spec
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer
from molmoact_ros.sim.tasks import FAMILIES, sample_instruction, sample_task

RESULTS = Path(__file__).parent / "results"
NO_LINE = np.zeros((1, 2), np.float32)
"""A drawn path of one point draws nothing, but asks the steering question."""


class BothCameras(SceneRenderer):
    """Renders both cameras whatever is asked: a model looks through the wrist camera too."""

    def render(self, qpos, spec=None, cameras=()) -> dict[str, CameraFrame]:  # type: ignore[no-untyped-def]
        return super().render(qpos, spec)


class Patient:
    """A policy whose refused answers become a rest of one chunk, as the commander holds."""

    def __init__(self, inner: MolmoActPolicy, plain: bool) -> None:
        self._inner, self._plain = inner, plain
        self.refused = 0
        self.description, self.needs_geometry = inner.description, False

    def reset(self, instruction: str) -> None:
        self._inner.reset(instruction)

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        if self._plain:
            observation = replace(observation, steering=NO_LINE)
        try:
            return self._inner.think(observation, canceled)
        except ThoughtRefused as refusal:
            self.refused += 1
            rest = np.zeros((8, 7))
            rest[:, 6] = 1.0
            return Thought(refusal.text, None, np.zeros((0, 2), np.float32), rest)


def interval(done: int, tried: int) -> tuple[float, float]:
    """95 % Wilson interval of a share."""
    if not tried:
        return 0.0, 1.0
    z, p = 1.96, done / tried
    middle = (p + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z / (1 + z * z / tried) * math.sqrt(p * (1 - p) / tried + z * z / (4 * tried**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=300, help="rows of 1/15 s an episode may take")
    parser.add_argument("--rethink", type=int, default=4)
    parser.add_argument("--latency", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ask", choices=("reason", "act"), default="reason")
    parser.add_argument("--jitter", type=float, default=0.0, help="of the cameras' mounts")
    values = parser.parse_args()
    policy = Patient(MolmoActPolicy(values.checkpoint, device=values.device), values.ask == "act")
    print(policy.description)
    spec = scene_spec(0)
    robot, renderer = OfflineRobot(spec), BothCameras(spec)
    timing, table = Timing(values.rethink, values.latency), {}
    for family in values.families:
        done, started = 0, time.perf_counter()
        for seed in range(values.first_seed, values.first_seed + values.seeds):
            robot.reset(scene_spec(seed, camera_jitter=values.jitter))
            words = sample_instruction(family, seed)
            task = sample_task(family, seed)
            episode = run_episode(robot, renderer, policy, task, words, timing, values.rows)
            done += episode.verdict.success
            print(f"{family} seed {seed}: {episode.verdict.words} [{words}]", flush=True)
        low, high = interval(done, values.seeds)
        table[family] = {
            "done": done, "tried": values.seeds, "low": low, "high": high,
            "seconds": time.perf_counter() - started,
        }  # fmt: skip
    renderer.close()
    print("| family | success | 95 % interval |\n|---|---|---|")
    for family, row in table.items():
        bounds = f"{100 * row['low']:.0f}..{100 * row['high']:.0f} %"
        print(f"| {family} | {row['done']}/{row['tried']} | {bounds} |")
    RESULTS.mkdir(exist_ok=True)
    document = {
        "checkpoint": str(values.checkpoint), "policy": policy.description, "ask": values.ask,
        "first_seed": values.first_seed, "refused": policy.refused, "families": table,
    }  # fmt: skip
    path = RESULTS / f"drive_{values.checkpoint.name}_{values.ask}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
