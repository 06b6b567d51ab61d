"""``molmoact convert``: other people's data sets in, ours out.

``molmoact convert import-lerobot FOLDER --out DATA`` takes a LeRobot set (v2.0, v2.1 or v3.0),
``import-libero FOLDER --out DATA`` the files of a LIBERO suite;
``export-lerobot DATA --out FOLDER`` and ``export-official DATA --out FOLDER`` write one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.convert_card import import_card
from molmoact_ros.data.dataset import DataSet, finish
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.estimator import DepthAnything
from molmoact_ros.data.label import Known, label_ticks
from molmoact_ros.data.label_command import given_statistics
from molmoact_ros.data.lerobot import MOLMOACT_HOUSEHOLD, Keys, read_lerobot
from molmoact_ros.data.lerobot_export import export_lerobot
from molmoact_ros.data.libero import ACTION_UNITS, find_libero, read_libero
from molmoact_ros.data.official_export import Exported, export_official
from molmoact_ros.data.pointing import MolmoPointer
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.rows import LABELS, write_rows
from molmoact_ros.data.ticks import Ticks
from molmoact_ros.reasoning.action_scaling import gripper_columns

WHAT = ("import-lerobot", "import-libero", "export-lerobot", "export-official")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact convert``."""
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("source", type=Path, help="the data set that is read")
    parser.add_argument("--out", type=Path, required=True, help="the folder that is written")
    parser.add_argument(
        "--with-held-out", action="store_true", help="export-official: episodes for looking at too"
    )
    parser.add_argument("--card", type=Path, help="JSON file with card fields, for an import")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", dest="fields")
    parser.add_argument("--statistics", type=Path, help="keep this file's bins, for an import")
    parser.add_argument("--image", action="append", default=[], metavar="CAMERA=COLUMN")
    parser.add_argument("--state", default="observation.state", help="column of the robot's state")
    parser.add_argument("--action", default="action", help="column of actions")
    parser.add_argument("--molmoact-columns", action="store_true", help="of MolmoAct-Dataset")
    parser.add_argument("--depth-estimator", type=Path, help="folder of Depth-Anything-V2-Base-hf")
    parser.add_argument("--depth-weights", type=Path, help="VQ-VAE (vae-final.pt or safetensors)")
    parser.add_argument("--pointer", type=Path, help="folder of a Molmo pointing model")
    parser.add_argument("--device", default="", help="of these models: cuda if there is one, cpu")


def run(values: argparse.Namespace) -> int:
    """The exit status."""
    try:
        if values.what.startswith("import-"):
            return _import(values)
        data = DataSet(values.source, "")
        if values.what == "export-lerobot":
            export_lerobot(data, values.out)
        else:
            _tell(values.out, export_official(data, values.out, values.with_held_out))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"molmoact convert: {error}\n")
        return 2
    return 0


def _tell(out: Path, done: Exported) -> None:
    words = f"{out}: {done.rows} rows"
    if done.held_out:
        plural = "s" if done.held_out > 1 else ""
        words += f"; {done.held_out} held-out episode{plural} left out (--with-held-out keeps them)"
    sys.stderr.write(words + "\n")


def _import(values: argparse.Namespace) -> int:
    card, assumed = import_card(values)
    if values.what == "import-libero":
        assumed = f"actions stay in units of the {ACTION_UNITS}; {assumed}".removesuffix("; ")
    if assumed:
        sys.stderr.write(assumed + "\n")
    given = given_statistics(values.statistics, card) if values.statistics else None
    depth, pointer = None, None
    if values.depth_estimator and card.depth_source == "estimate":
        estimator = DepthAnything(values.depth_estimator, values.device)
        depth = DepthLabeller(values.depth_weights, estimator)
        card = replace(card, depth_codebook=depth.codebook)
    if values.pointer and card.trace_source == "molmo":
        pointer = MolmoPointer(values.pointer, values.device)
    problems: dict[str, str] = {}
    for number, (ticks, known) in enumerate(_episodes(values, card), 1):
        gripper_columns(card.travelling, ticks.actions.shape[1])
        kept = Known(
            known.depth if depth is None and card.depth_source != "none" else None,
            known.traces if pointer is None and card.trace_source != "none" else (),
        )
        try:
            rows = label_ticks(ticks, values.out, card, depth, ticks.episode_id, pointer, kept)
        except BadEpisode as error:
            problems[ticks.episode_id] = str(error)
            continue
        finally:
            sys.stderr.write(f"\r{number} episodes   ")
        if values.what == "import-libero":
            info = {**rows.info, "action_units": ACTION_UNITS}
            path = values.out / LABELS / f"{info['key']}.parquet"
            write_rows(path, replace(rows, info=info))
    statistics = finish(values.out, card, problems, given)
    count = f"{statistics.num_trajectories} episodes to train on" if given is None else "bins given"
    left = f"; {len(problems)} could not be used, see quarantine.json" if problems else ""
    sys.stderr.write(f"\n{values.out}: {count}{left}\n")
    return 0


def _episodes(values: argparse.Namespace, card: DataCard) -> Iterator[tuple[Ticks, Known]]:
    if values.what == "import-libero":
        for path in find_libero(values.source):
            for ticks in read_libero(path):
                yield ticks, Known()
        return
    pairs = tuple((k, v) for k, _, v in (text.partition("=") for text in values.image))
    keys = Keys(pairs, values.state, values.action)
    yield from read_lerobot(
        values.source, card, MOLMOACT_HOUSEHOLD if values.molmoact_columns else keys
    )
