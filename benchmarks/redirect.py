"""Words name one cube, a stroke leads to another: which one does the arm come to, through ROS?

    ./run shell python benchmarks/redirect.py --policy molmoact --trials 20       (about 8 minutes)

Starts the stack of config/sim.yaml, headless. One stroke is drawn before the task starts, from the
gripper to a cube that the words do not name (~/steer_trace, until cleared), and stays; it is the
path that the scripted expert would take, as a person would see and draw it. Success, by ground
truth: the tool comes to the drawn cube (within 3 cm, low) before any other. Prints counts with a
95 % interval and writes benchmarks/results/redirect_<policy>.json.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from molmoact_msgs.srv import StartInstruction
from sim_stack import add_arguments, arguments_of, save, sim_stack
from steering import CAMERA, Stylus

from molmoact_ros.data.demonstrate import true_items
from molmoact_ros.evals.closed_loop import first_reached, other_cube
from molmoact_ros.evals.table import share_of
from molmoact_ros.evals.variations import Trial, make_trial
from molmoact_ros.policy.scripted.estimate import Estimate, Hand
from molmoact_ros.policy.scripted.goals import PICK_UP, Goal
from molmoact_ros.policy.scripted.rollout import roll
from molmoact_ros.policy.scripted.trace import trace_of_path
from molmoact_ros.sim.judge import Judge, Truth
from molmoact_ros.sim.shared import SnapshotReader, snapshot_name
from molmoact_ros.sim.tasks import Task

OPEN_M = 0.08
AFTER_S = 8.0
"""Seconds to wait for the cube to be lifted, once the hand has come to one."""


def trial(stylus: Stylus, reader: SnapshotReader, one: Trial, seconds: float) -> dict[str, Any]:
    stylus.lay_out(one.seed, one.family)
    cube = other_cube(one)
    truth = Truth.of(reader.read())
    hand = Hand(truth.tcp, truth.tcp, OPEN_M)
    path = roll(Estimate(0.0, true_items(truth.objects)), hand, Goal(PICK_UP, cube)).path
    stylus.steer(trace_of_path(path, CAMERA).astype(np.float64))
    stylus.ask("policy/start", StartInstruction.Request(instruction=one.instruction))
    judge, begin, first = Judge(Task(PICK_UP, cube)), time.monotonic(), ""
    lifted, end = False, begin + seconds
    while time.monotonic() < end and not lifted:
        stylus.wait(0.05)
        truth = Truth.of(reader.read())
        lifted = judge.update(truth).success
        if not first and (first := first_reached([truth])):
            end = min(end, time.monotonic() + AFTER_S)
    return {
        "family": one.family,
        "seed": one.seed,
        "instruction": one.instruction,
        "named": one.task.cube,
        "drawn": cube,
        "reached": first,
        "success": first == cube,
        "lifted": lifted,
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=40.0)
    add_arguments(parser, "molmoact", "127.0.4.2", 64)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with sim_stack(arguments_of(options), options.domain) as check:
        stylus = Stylus(options.host)
        reader = SnapshotReader(snapshot_name(options.host))
        for seed in range(options.first_seed, options.first_seed + options.trials):
            row = trial(stylus, reader, make_trial(PICK_UP, seed), options.seconds)
            rows.append(row)
            mark = "ok  " if row["success"] else "FAIL"
            print(f"{mark} seed {seed}: {row['instruction']}, drawn to {row['drawn']}, came to "
                  f"{row['reached'] or 'none'} ({row['seconds']} s)", flush=True)  # fmt: skip
            check()
    drawn = share_of(row["success"] for row in rows)
    named = share_of(row["reached"] == row["named"] for row in rows)
    print(
        f"came to the drawn cube first: {drawn} (95 %: {drawn.interval}), to the named one: {named}"
    )
    print(f"picked the drawn cube up as well: {share_of(row['lifted'] for row in rows)}")
    save(f"redirect_{options.policy}", rows)


if __name__ == "__main__":
    main()
