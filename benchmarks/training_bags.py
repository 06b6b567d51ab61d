"""Bags for training, through the recorder node: a scripted gamepad and the scripted policy.

    ./run shell python benchmarks/training_bags.py BAGS --expert 24 --teleop 8

Both drive the real stack (franky, commander, cameras) in scenes that are never used for scoring;
the recorder writes an episode of each and labels it by ground truth. `molmoact label BAGS` goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from arm_bench import ArmBench
from demonstrations import CAMERA_HZ, UP, Operator, label, recorded_pad
from molmoact_msgs.msg import EpisodeStatus
from molmoact_msgs.srv import LabelEpisode
from sim_stack import NODES, default_domain, sim_stack
from success import Bench
from virtual_pad import CLOSE, OPEN, Pad

from molmoact_ros.data.demonstrate import FIRST_SEED
from molmoact_ros.policy.scripted.percept import nearest_square_angle
from molmoact_ros.sim.shared import SnapshotReader
from molmoact_ros.sim.tasks import FAMILIES, PICK_UP, sample_instruction, sample_task

HOST = "127.0.3.2"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--expert", type=int, default=24, help="episodes of the scripted policy")
    parser.add_argument("--teleop", type=int, default=8, help="episodes of the scripted gamepad")
    parser.add_argument("--first-seed", type=int, default=2 * FIRST_SEED)
    parser.add_argument("--jitter", type=float, default=1.0, help="of the cameras' mounts")
    values = parser.parse_args()
    if values.first_seed < FIRST_SEED:
        raise SystemExit(f"scenes below {FIRST_SEED} are for scoring")
    seeds = range(values.first_seed, values.first_seed + values.teleop)
    if seeds:
        teleoperated(values.folder / "teleop", seeds, values.jitter)
    seeds = range(seeds.stop, seeds.stop + values.expert)
    if seeds:
        expert(values.folder / "expert", seeds, values.jitter)


def teleoperated(folder: Path, seeds: range, jitter: float) -> None:
    """A person picks a cube up with a gamepad: over it, turned along its sides, down, up."""
    with recorded_pad(folder, jitter) as (bench, pad, operator, reader):
        for seed in seeds:
            _tell(seed, *_picked_up(bench, pad, operator, reader, seed))


def _picked_up(
    bench: ArmBench, pad: Pad, operator: Operator, reader: SnapshotReader, seed: int
) -> tuple[str, str]:
    person, task = bench.person, sample_task(PICK_UP, seed)
    bench.sim.reset(seed, PICK_UP)
    bench.ready()
    person.listen(0.5)
    truth = reader.read().objects[task.cube]
    cube = np.array(truth.position)
    pad.grip(OPEN, lambda: person.arm.gripper_width > 0.07)
    bag = operator.start(sample_instruction(PICK_UP, seed))
    pad.hold(0.3)
    pad.go(cube + UP, within=0.012)
    pad.turn(nearest_square_angle(truth.yaw, 0.0))
    pad.go(cube)
    pad.grip(CLOSE, lambda: person.arm.gripper_width < 0.045)
    pad.go(cube + 1.7 * UP)
    lifted = reader.read().objects[task.cube].position[2] > cube[2] + 0.1
    operator.stop()
    return bag, _labelled(operator, bag, lifted)


def expert(folder: Path, seeds: range, jitter: float) -> None:
    """The scripted policy, each family in turn; what did not end well is labelled so."""
    arguments = {
        "host": HOST, "policy": "scripted", "record": "true", "episodes": str(folder),
        "camera_rate": f"{CAMERA_HZ:g}", "camera_jitter": f"{jitter:g}",
    }  # fmt: skip
    with sim_stack(arguments, default_domain(63), (*NODES, "recorder")) as check:
        bench, operator = Bench(HOST), Operator()
        bench.ready(check)
        assert operator.wait(lambda: operator.status.state == EpisodeStatus.IDLE, 90.0)
        for seed in seeds:
            family = FAMILIES[seed % len(FAMILIES)]
            bench.lay_out(seed, family)
            bag = operator.start(sample_instruction(family, seed))
            row = bench.follow(family, seed, 40.0)
            operator.stop()
            _tell(seed, bag, _labelled(operator, bag, bool(row["success"])))
            check()


def _labelled(operator: Operator, bag: str, success: bool) -> str:
    outcome = LabelEpisode.Request.SUCCESS if success else LabelEpisode.Request.FAILURE
    return label(operator, outcome, bag)


def _tell(seed: int, bag: str, outcome: str) -> None:
    sys.stderr.write(f"seed {seed}: {bag}, {outcome}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
