"""``molmoact vqvae maps|train|report``: a depth VQ-VAE for what one's own camera sees.

``molmoact vqvae maps BAGS --out MAPS`` collects depth maps, ``vqvae train --maps MAPS --out RUN``
trains on them (alone, or ``torchrun --nproc-per-node 8 -m molmoact_ros.cli vqvae train ...``), and
``vqvae report --weights RUN/depth_vqvae.safetensors --maps MAPS --out REPORT`` says how good it is.
Each continues where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from molmoact_ros.data.card import BadCard
from molmoact_ros.data.estimator import WANTED
from molmoact_ros.data.label_options import topics_of
from molmoact_ros.data.local_models import config_of, device_of
from molmoact_ros.data.rows import BadData
from molmoact_ros.data.workers import in_processes
from molmoact_ros.model.codebook import PACKAGE_WEIGHTS
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.train.depth_maps import depth_metres
from molmoact_ros.train.depth_shards import DepthMaps, is_there, open_folder
from molmoact_ros.train.map_sources import (
    Made,
    Making,
    Shard,
    make_shard,
    shards_of,
    simulated_shards,
)
from molmoact_ros.train.processes import World, join_world, leave_world
from molmoact_ros.train.recipe import BadRecipe
from molmoact_ros.train.vqvae_loop import VqVaeRun
from molmoact_ros.train.vqvae_recipe import PRESETS, VqVaeRecipe
from molmoact_ros.train.vqvae_report import HELD_OUT_SEED, of_maps, of_simulation
from molmoact_ros.train.vqvae_sheet import write_report

LEFT_OUT = "left_out.json"
_FIELDS = {
    "epochs": "times that every map is seen",
    "minutes": "budget instead of epochs",
    "batch": "maps of a step, over all processes",
    "learning_rate": "of Adam",
    "commitment": "weight of the commitment term",
    "decay": "of the codebook's moving averages",
    "warm_up": "share of the budget without codes (ours)",
    "revive_every": "steps between moving unused codes; 0: never (ours)",
    "edges": "weight of neighbouring pixels' differences (ours)",
    "precision": "bf16, float32 or auto: bf16 on a GPU",
    "seed": "of order and first weights",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact vqvae``."""
    what = parser.add_subparsers(dest="what", required=True, metavar="maps|train|report")
    maps = what.add_parser("maps", help="depth maps of bags, labelled data or the simulation")
    maps.add_argument("sources", type=Path, nargs="*", help="bags, folders of bags, data sets")
    maps.add_argument("--out", type=Path, required=True, help="folder of the maps")
    maps.add_argument("--every", type=int, default=5, help="take every n-th frame")
    maps.add_argument("--topics", type=Path, help="JSON file with topic names of this set-up")
    maps.add_argument("--depth-estimator", type=Path, help="folder of Depth-Anything-V2-Base-hf")
    maps.add_argument(
        "--device", default="", help="of the estimator; default: cuda if there is one"
    )
    maps.add_argument("--batch", type=int, default=16, help="pictures the estimator sees at once")
    maps.add_argument("--jobs", type=int, default=1, help="processes")
    maps.add_argument("--simulation", type=int, default=0, help="so many maps of the simulation")
    maps.add_argument("--seed", type=int, default=1, help="of the simulation")
    train = what.add_parser("train", help="train on maps; the same command continues")
    train.add_argument("--maps", type=Path, nargs="+", required=True, help="folders of maps")
    train.add_argument("--out", type=Path, required=True, help="folder of the run")
    train.add_argument("--preset", default="paper", choices=sorted(PRESETS))
    for name, words in _FIELDS.items():
        kind = type(getattr(VqVaeRecipe(), name))
        train.add_argument(f"--{name.replace('_', '-')}", type=kind, help=words)
    train.add_argument("--device", default="", help="cpu or cuda; default: cuda if there is one")
    train.add_argument("--threads", type=int, default=8, help="that decode maps")
    report = what.add_parser("report", help="error, use of codes and pictures")
    report.add_argument("--weights", type=Path, default=PACKAGE_WEIGHTS)
    report.add_argument("--maps", type=Path, nargs="+", help="folders of maps")
    report.add_argument("--all", action="store_true", help="not only the maps that are held out")
    report.add_argument("--simulation", type=int, default=0, help="so many unseen scenes instead")
    report.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="of the simulation")
    report.add_argument("--most", type=int, default=300, help="maps looked at, spread over all")
    report.add_argument("--out", type=Path, help="folder for report.json and report.png")


def run(values: argparse.Namespace) -> int:
    """The exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        return {"maps": _maps, "train": _train, "report": _report}[values.what](values)
    except (BadCard, BadData, BadRecipe, FloatingPointError, OSError, ValueError) as error:
        sys.stderr.write(f"molmoact vqvae {values.what}: {error}\n")
        return 2


def _maps(values: argparse.Namespace) -> int:
    if bool(values.sources) == bool(values.simulation):
        raise BadData("give either bags and data sets, or --simulation N")
    making = Making(
        values.out, max(1, values.every), topics_of(values), values.depth_estimator,
        device_of(values.device), values.batch,
    )  # fmt: skip
    problems: dict[str, str] = {}
    settings: dict[str, object] = {"depth": "simulation"}
    if values.simulation:
        shards = simulated_shards(values.simulation, values.seed)
    else:
        if values.depth_estimator:
            config_of(values.depth_estimator, WANTED)
        shards, problems = shards_of(values.sources, bool(values.depth_estimator))
        settings = making.settings
    open_folder(values.out, settings)
    todo = [shard for shard in shards if not is_there(values.out, shard.key)]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started, maps = time.monotonic(), 0
    work = partial(make_shard, making=making)
    for number, made in enumerate(in_processes(work, todo, values.jobs, _died), 1):
        maps += made.maps
        if made.problem:
            problems[str(made.shard.path)] = made.problem
        _progress(number, len(todo), maps, time.monotonic() - started)
    text = json.dumps(problems, indent=1, ensure_ascii=False) + "\n"
    (values.out / LEFT_OUT).write_text(text, encoding="utf-8")
    if not any(is_there(values.out, shard.key) for shard in shards):
        why = "; ".join(f"{k}: {v}" for k, v in list(problems.items())[:3])
        raise BadData(f"no depth map could be made. {why}")
    there = len(DepthMaps([values.out]))
    sys.stderr.write(f"\n{values.out}: {there} maps, {maps} of them new")
    sys.stderr.write(f"; {len(problems)} left out, see {LEFT_OUT}\n" if problems else "\n")
    return 0


def _died(shard: Shard) -> Made:
    return Made(shard, 0, "the process that read it was killed; is there enough memory?")


def _progress(number: int, total: int, maps: int, spent: float) -> None:
    left = spent / number * (total - number)
    speed = maps / max(spent, 1e-9)
    bar = "#" * (20 * number // total)
    sys.stderr.write(
        f"\r[{bar:20}] {number}/{total} recordings, {maps} maps, {speed:.0f} maps/s, "
        f"{left:.0f} s left     "
    )
    sys.stderr.flush()


def _train(values: argparse.Namespace) -> int:
    given = {name: getattr(values, name) for name in _FIELDS}
    recipe = replace(PRESETS[values.preset], **{k: v for k, v in given.items() if v is not None})
    world = join_world(values.device)
    try:
        return _trained(values, recipe, world)
    finally:
        leave_world(world)


def _trained(values: argparse.Namespace, recipe: VqVaeRecipe, world: World) -> int:
    if world.device.type == "cpu" and "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(max(1, int(os.environ["OMP_NUM_THREADS"])))
    run = VqVaeRun(values.maps, recipe, values.out, world, threads=values.threads)
    ended = run.run()
    few = run.learner.network.shape.codes / 8
    if world.first and ended.finished and ended.perplexity < few and not recipe.revive_every:
        sys.stderr.write(
            f"perplexity {ended.perplexity:.0f}: hardly any code is used; train anew with "
            "--revive-every 20\n"
        )
    if world.first:
        words = "done" if ended.finished else "stopped; the same command continues"
        sys.stderr.write(f"{values.out}: {ended.steps} steps, {words}\n")
    return 0


def _report(values: argparse.Namespace) -> int:
    if bool(values.maps) == bool(values.simulation):
        raise BadData("give either --maps FOLDER or --simulation N")
    codec = DepthCodec.from_file(values.weights)
    if values.simulation:
        found = of_simulation(codec, depth_metres(values.simulation, values.seed))
    else:
        found = of_maps(
            codec, DepthMaps(values.maps, "" if values.all else "held_out"), values.most
        )
    sys.stdout.write(json.dumps(asdict(found.numbers), indent=1) + "\n")
    if values.out:
        write_report(values.out, found, str(values.weights))
    return 0
