"""``molmoact train --data DATA --out RUN``: fine-tune a checkpoint, or train a small network.

Alone, or on many processes: ``torchrun --nproc-per-node 8 -m molmoact_ros.cli train ...``. The
same command continues a run that was interrupted, also with another number of processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from molmoact_ros.data.card import BadCard
from molmoact_ros.data.rows import BadData
from molmoact_ros.model.config import CheckpointError
from molmoact_ros.train.base_fit import check_base
from molmoact_ros.train.export import export_run
from molmoact_ros.train.loop import Trainer
from molmoact_ros.train.mixture import check_crop, check_mixture, check_weights
from molmoact_ros.train.order import share
from molmoact_ros.train.processes import World, join_world, leave_world
from molmoact_ros.train.recipe import PRESETS, BadRecipe, Recipe, changed, overrides
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
    parser.add_argument(
        "--new-statistics", action="store_true",
        help="other bins or another card than --base has under the same key, on purpose",
    )  # fmt: skip
    parser.add_argument(
        "--new-depth-codes", action="store_true", help="codes --base never saw, on purpose"
    )
    parser.add_argument(
        "--unchecked", action="store_true", help="train although molmoact check finds faults"
    )
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
    recipe = changed(PRESETS[values.preset], overrides(values.fields))
    if world.device.type == "cpu" and "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(max(1, int(os.environ["OMP_NUM_THREADS"])))
    torch.set_float32_matmul_precision("high")
    _check_start(values, recipe)
    share(0, recipe.batch, world.rank, world.size)
    check_mixture(values.data)
    check_weights(values.data, values.weights)
    check_crop(values.data, recipe.crop)
    _check_web(values.web, recipe, world)
    if values.base is not None:
        check_base(values.base, values.data, recipe, values.new_statistics, values.new_depth_codes)
    if not values.unchecked:
        _check_data(values.data, world)
    base = _base(values, recipe, world)
    weights = tuple(values.weights) if values.weights else None
    source = Source(tuple(values.data), base, recipe, web=values.web, weights=weights)
    trainer = Trainer(source, values.out, world)
    if world.first:
        values.out.mkdir(parents=True, exist_ok=True)
        (values.out / RECIPE).write_text(recipe.to_json(), encoding="utf-8")
    outcome = trainer.run()
    if not outcome.finished:
        if world.first:
            sys.stderr.write(f"stopped after step {outcome.steps}; the same command continues\n")
    elif values.export and world.first:
        export_run(values.out, base, values.data, values.export, outcome.checkpoint, recipe)
    return 0


def _check_data(folders: Sequence[Path], world: World) -> None:
    """``molmoact check`` before hours of training, in the first process; all end if it refuses."""
    from molmoact_ros.data.gate_record import gate_before_training

    found: list[str] = []
    if world.first:
        try:
            found = [f"{folder}: {w}" for folder in folders for w in gate_before_training(folder)]
        except (BadData, BadCard, OSError) as error:
            found = [str(error)]
    if world.any(bool(found)):
        words = "; ".join(found) or "the first process says why"
        raise BadData(f"molmoact check refuses the data (train all the same: --unchecked): {words}")


def _check_web(web: Path | None, recipe: Recipe, world: World) -> None:
    if web is not None and recipe.web == 0.0:
        raise BadRecipe(f"--web {web}: the recipe shows none of it; add --set web=0.05")
    if web is None and recipe.web > 0.0 and world.first:
        part = 100.0 * recipe.web / sum(recipe.shares.values())
        sys.stderr.write(
            f"WARNING: {part:.0f} % of the samples should be ordinary pictures, but no --web "
            "FOLDER is given: the other kinds take their place\n"
        )


def _check_start(values: argparse.Namespace, recipe: Recipe) -> None:
    if (values.base is None) == (values.size is None):
        raise BadRecipe("give either --base (a checkpoint) or --size (a new small network)")
    if values.base is None and recipe.method != "full":
        raise BadRecipe("a new network is trained in full; use --preset nano or nano-cpu")


def _base(values: argparse.Namespace, recipe: Recipe, world: World) -> Path:
    if values.base is not None:
        return Path(values.base)
    folder = Path(values.out) / START
    if world.first and not (folder / "README.md").is_file():
        save_untrained(folder, values.size, values.data[0], recipe.seed)
    world.wait()
    return folder
