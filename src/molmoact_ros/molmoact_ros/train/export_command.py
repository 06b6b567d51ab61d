"""``molmoact export RUN --out FOLDER``: a trained run as a checkpoint that drives the robot."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from molmoact_ros.data.card import BadCard
from molmoact_ros.data.rows import BadData
from molmoact_ros.model.config import CheckpointError
from molmoact_ros.train.checkpoints import newest
from molmoact_ros.train.export import export_run
from molmoact_ros.train.recipe import Recipe

START = "start"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact export``."""
    parser.add_argument("run", type=Path, help="folder of a run of molmoact train")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="the data sets it was trained on"
    )
    parser.add_argument("--base", type=Path, help="checkpoint it started from; default: RUN/start")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")


def run(values: argparse.Namespace) -> int:
    """Export the newest checkpoint of a run; the exit status."""
    base = values.base or values.run / START
    try:
        found = newest(values.run)
        if found is None:
            raise CheckpointError(f"{values.run}: no complete checkpoint; train first")
        recipe = Recipe(**json.loads((values.run / "recipe.json").read_text(encoding="utf-8")))
        test = export_run(values.run, base, values.data, values.out, found, recipe)
    except (CheckpointError, BadCard, BadData, OSError) as error:
        sys.stderr.write(f"molmoact export: {error}\n")
        return 2
    sys.stderr.write(
        f"{values.out}: exported {found.name}; {test.answers} training answers read back, at most "
        f"{test.worst} bins away\n"
    )
    return 0
