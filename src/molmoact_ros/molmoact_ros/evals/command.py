"""``molmoact eval sim``: closed-loop success of a policy over unseen seeds, offline.

One process, no ROS, ground truth as judge. Families and variations as tables with 95 % Wilson
intervals; ``--steer`` draws a path to another cube than the words name. For the whole stack
through ROS topics and franky use benchmarks/success.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from molmoact_ros.data.demonstrate import FIRST_SEED
from molmoact_ros.evals.closed_loop import Arena, Patient, Until
from molmoact_ros.evals.offline_rollout import Timing
from molmoact_ros.evals.run_record import RunRecord, write
from molmoact_ros.evals.table import success_table
from molmoact_ros.evals.variations import VARIATIONS, Trial, make_trial
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.policy.base import PolicyError
from molmoact_ros.policy.factory import KINDS, PolicySpec, make_policy
from molmoact_ros.sim.tasks import FAMILIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact eval``."""
    parser.add_argument("where", choices=("sim",), help="the simulation of this package")
    parser.add_argument("--policy", default="molmoact", choices=[k for k in KINDS if k != "remote"])
    parser.add_argument("--checkpoint", default="", help="folder or owner/name@commit")
    parser.add_argument("--unnorm-key", default="", help="statistics key; default: its own")
    parser.add_argument("--device", default="", help="cpu or cuda; default: cuda if there is one")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--variations", nargs="*", default=["none"], choices=VARIATIONS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0, help="demonstrations begin at 100000")
    parser.add_argument(
        "--steer", nargs="?", const="lifted", choices=get_args(Until),
        help="draw a path to another cube, which ends where it is lifted (default) or at the cube",
    )  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="ask for actions alone")
    parser.add_argument("--guided", action="store_true", help="draw the expert's own path")
    parser.add_argument("--rows", type=int, default=300, help="rows of 1/15 s an episode may take")
    parser.add_argument("--rethink", type=int, default=4, help="rows between thoughts")
    parser.add_argument("--latency", type=int, default=2, help="rows until a thought is followed")
    parser.add_argument("--videos", type=int, default=0, help="film so many trials of each family")
    parser.add_argument("--depth-weights", type=Path, help="vae-final.pt for films; default: ours")
    parser.add_argument("--out", type=Path, default=Path("eval"), help="results.json and videos")


def run(values: argparse.Namespace) -> int:
    """Score; the exit status is 2 where nothing could be scored."""
    if values.first_seed + values.seeds > FIRST_SEED:
        sys.stderr.write(f"molmoact eval: seeds from {FIRST_SEED} on are demonstrations\n")
        return 2
    spec = PolicySpec(
        values.policy, values.checkpoint, unnorm_key=values.unnorm_key, device=values.device
    )
    try:
        codec = DepthCodec.from_file(values.depth_weights)
        policy = Patient(make_policy(spec), values.plain)
    except (PolicyError, OSError, ValueError) as error:
        sys.stderr.write(f"molmoact eval: {error}\n")
        return 2
    sys.stdout.write(f"{policy.description}\n")
    arena = Arena(Timing(values.rethink, values.latency), values.rows)
    act = (
        partial(arena.run_steered, until=values.steer)
        if values.steer
        else partial(arena.run, guided=values.guided)
    )
    rows: list[dict[str, Any]] = []
    for variation in values.variations:
        for family in values.families:
            for seed in range(values.first_seed, values.first_seed + values.seeds):
                film = seed - values.first_seed < values.videos
                trial = make_trial(family, seed, variation)
                rows.append(_one(policy, act, trial, values.out if film else None, codec))
    arena.close()
    _report(values, policy.description, rows)
    return 0


def _one(
    policy: Patient,
    act: Callable[[Patient, Trial], dict[str, Any]],
    trial: Trial,
    out: Path | None,
    codec: DepthCodec,
) -> dict[str, Any]:
    policy.record = None if out is None else RunRecord(trial.instruction)
    started = time.perf_counter()
    row = act(policy, trial)
    took = time.perf_counter() - started
    mark = "ok  " if row["success"] else "FAIL"
    sys.stdout.write(
        f"{mark} {trial.family} {trial.variation} seed {trial.seed} {row['seconds']} s: "
        f"{trial.instruction} ({row['message']}; took {took:.0f} s)\n"
    )
    sys.stdout.flush()
    if out is not None and policy.record is not None:
        folder = out / f"{trial.family}_{trial.variation}_{trial.seed}"
        write(
            policy.record,
            folder,
            row | {"policy": policy.description},
            codec.picture,
            lambda done, total: None,
        )
    return row


def _report(values: argparse.Namespace, description: str, rows: list[dict[str, Any]]) -> None:
    sys.stdout.write(success_table(rows) + "\n")
    if len(values.variations) > 1:
        sys.stdout.write(success_table(rows, by="variation") + "\n")
    if values.steer:
        lifted = sum(bool(row["lifted"]) for row in rows)
        sys.stdout.write(f"steered to the drawn cube; picked up as well: {lifted}/{len(rows)}\n")
    values.out.mkdir(parents=True, exist_ok=True)
    document = {
        "policy": description,
        "checkpoint": values.checkpoint,
        "unnorm_key": values.unnorm_key,
        "steer": values.steer,
        "asked": "actions" if values.plain else "actions, path drawn" if values.guided else "all",
        "rethink": values.rethink,
        "latency": values.latency,
        "trials": rows,
    }
    path = values.out / "results.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
