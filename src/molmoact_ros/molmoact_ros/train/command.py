"""``molmoact train --data DATA --out RUN``: fine-tune a checkpoint, or train a small network.

Alone, or on many processes: ``torchrun --nproc-per-node 8 -m molmoact_ros.cli train ...``. The
same command continues a run that was interrupted, also with another number of processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import torch

from molmoact_ros.data.card import BadCard, load_card
from molmoact_ros.data.rows import BadData
from molmoact_ros.model.config import CheckpointError
from molmoact_ros.train.export import export_run
from molmoact_ros.train.loop import Trainer
from molmoact_ros.train.mixture import check_mixture, check_weights
from molmoact_ros.train.processes import World, join_world, leave_world
from molmoact_ros.train.recipe import PRESETS, BadRecipe, Recipe, changed
from molmoact_ros.train.samples import TooLong
from molmoact_ros.train.sizes import SIZES, save_untrained
from molmoact_ros.train.stream import Source

START, RECIPE = "start", "recipe.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact train``."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="labelled data sets")
    parser.add_argument(
        "--weights", type=float, nargs="+", help="share of each set; default: root of its size"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes")
    parser.add_argument("--base", type=Path, help="checkpoint to start from")
    parser.add_argument("--size", choices=SIZES, help="instead of --base: a new small network")
    parser.add_argument("--preset", default="post-train", choices=sorted(PRESETS))
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="fields")
    parser.add_argument("--web", type=Path, help="folder of ordinary pictures with questions")
    parser.add_argument("--device", default="", help="cpu or cuda; default: cuda if there is one")
    parser.add_argument("--export", type=Path, help="also export the finished run to this folder")


def run(values: argparse.Namespace) -> int:
    """Train; the exit status: 0 finished or stopped in order, 2 refused."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    world = join_world(values.device)
    try:
        return _run(values, world)
    except (BadRecipe, BadData, BadCard, CheckpointError, TooLong, FloatingPointError) as error:
        sys.stderr.write(f"molmoact train: {error}\n")
        return 2
    finally:
        leave_world(world)


def _run(values: argparse.Namespace, world: World) -> int:
    recipe = changed(PRESETS[values.preset], dict(text.split("=", 1) for text in values.fields))
    if world.device.type == "cpu" and "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(max(1, int(os.environ["OMP_NUM_THREADS"])))
    torch.set_float32_matmul_precision("high")
    base = _base(values, recipe, world)
    check_mixture(values.data)
    check_weights(values.data, values.weights)
    for folder in values.data:
        card = load_card(folder)
        if recipe.crop < 1.0 and card.center_crop == 1.0:
            raise BadRecipe(
                f"{folder}: its card has no center_crop, but the recipe crops to {recipe.crop} of "
                "the picture; label with --set center_crop=0.9 or train with --set crop=1"
            )
    weights = tuple(values.weights) if values.weights else None
    source = Source(tuple(values.data), base, recipe, web=values.web, weights=weights)
    if world.first:
        values.out.mkdir(parents=True, exist_ok=True)
        (values.out / RECIPE).write_text(recipe.to_json(), encoding="utf-8")
    outcome = Trainer(source, values.out, world).run()
    if not outcome.finished:
        sys.stderr.write(f"stopped after step {outcome.steps}; the same command continues\n")
    elif values.export and world.first:
        export_run(values.out, base, values.data, values.export, outcome.checkpoint, recipe)
    return 0


def _base(values: argparse.Namespace, recipe: Recipe, world: World) -> Path:
    if (values.base is None) == (values.size is None):
        raise BadRecipe("give either --base (a checkpoint) or --size (a new small network)")
    if values.base is not None:
        return Path(values.base)
    if recipe.method != "full":
        raise BadRecipe("a new network is trained in full; use --preset nano or nano-cpu")
    folder = Path(values.out) / START
    if world.first and not (folder / "README.md").is_file():
        save_untrained(folder, values.size, values.data[0], recipe.seed)
    world.wait()
    return folder
