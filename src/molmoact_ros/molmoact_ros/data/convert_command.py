"""``molmoact convert``: other people's data sets in, ours out.

``molmoact convert import-lerobot FOLDER --out DATA`` labels a LeRobot set (v2.1 or v3),
``import-libero FOLDER --out DATA`` the files of a LIBERO suite;
``export-lerobot DATA --out FOLDER`` and ``export-official DATA --out FOLDER`` write one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from molmoact_ros.data.card import DataCard, card_from_dict
from molmoact_ros.data.dataset import DataSet, finish
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.estimator import DepthAnything
from molmoact_ros.data.label import Known, label_ticks
from molmoact_ros.data.lerobot import MOLMOACT_HOUSEHOLD, Keys, read_info, read_lerobot
from molmoact_ros.data.lerobot_export import export_lerobot
from molmoact_ros.data.libero import CARD, find_libero, read_libero
from molmoact_ros.data.official_export import Exported, export_official
from molmoact_ros.data.pointing import MolmoPointer
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.ticks import Ticks

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
    parser.add_argument("--image", action="append", default=[], metavar="CAMERA=COLUMN")
    parser.add_argument("--state", default="observation.state", help="column of the robot's state")
    parser.add_argument("--action", default="action", help="column of actions")
    parser.add_argument("--molmoact-columns", action="store_true", help="of MolmoAct-Dataset")
    parser.add_argument("--depth-estimator", type=Path, help="folder of Depth-Anything-V2-Base-hf")
    parser.add_argument("--pointer", type=Path, help="folder of a Molmo pointing model")


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
    card = _card(values)
    estimator = DepthAnything(values.depth_estimator) if values.depth_estimator else None
    depth = DepthLabeller(None, estimator) if estimator else None
    pointer = MolmoPointer(values.pointer) if values.pointer else None
    problems: dict[str, str] = {}
    for number, (ticks, known) in enumerate(_episodes(values, card), 1):
        try:
            label_ticks(ticks, values.out, card, depth, ticks.episode_id, pointer, known)
        except BadEpisode as error:
            problems[ticks.episode_id] = str(error)
        sys.stderr.write(f"\r{number} episodes   ")
    statistics = finish(values.out, card, problems)
    sys.stderr.write(f"\n{statistics.num_trajectories} episodes to train on\n")
    return 0


def _card(values: argparse.Namespace) -> DataCard:
    """Fields given, over those of the format; labels that nobody makes are left out."""
    given = json.loads(values.card.read_text(encoding="utf-8")) if values.card else {}
    fields = dict(CARD)
    if values.what == "import-lerobot":
        fields = {"fps": float(read_info(values.source)["fps"])}
    card = card_from_dict({**fields, **given}, DataCard(name=values.source.name))
    if "depth_source" not in given:
        card = replace(card, depth_source="estimate" if values.depth_estimator else "none")
    if "trace_source" not in given:
        card = replace(card, trace_source="molmo" if values.pointer else "none")
    return card


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
