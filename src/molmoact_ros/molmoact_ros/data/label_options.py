"""The options of ``molmoact label`` and what they say about card and topics."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path

from molmoact_ros.bags.provenance import software_commit, software_version
from molmoact_ros.data.bag_source import BagTopics
from molmoact_ros.data.card import BadCard, DataCard, card_from_dict
from molmoact_ros.data.depth_agreement import ENOUGH
from molmoact_ros.model.codebook import PACKAGE_WEIGHTS, codebook_of

COMPAT = {
    "keep_after_grip": 0.0,
    "keep_at_end": 0.0,
    "end_padding": "repeat",
    "crop_moves_trace": False,
    "center_crop": 0.9,
}
"""Fields that reproduce the released weights' training data."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact label``."""
    parser.add_argument("bags", type=Path, nargs="+", help="bags, or folders with bags below them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--card", type=Path, help="JSON file with card fields (docs/training.md)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", dest="fields")
    parser.add_argument("--compat", action="store_true", help="as the released weights were fed")
    parser.add_argument("--topics", type=Path, help="JSON file with topic names of this set-up")
    parser.add_argument("--instruction", default="", help="for bags that name no task")
    parser.add_argument("--depth-weights", type=Path, help="VQ-VAE (vae-final.pt or safetensors)")
    parser.add_argument("--depth-estimator", type=Path, help="folder of Depth-Anything-V2-Base-hf")
    parser.add_argument(
        "--depth-agreement", type=_count, nargs="?", const=ENOUGH, metavar="FRAMES",
        help=f"compare depth camera and estimator first (default: {ENOUGH} frames)",
    )  # fmt: skip
    parser.add_argument(
        "--unchecked-depth", action="store_true", help="sensor depth in other weights' codes as is"
    )
    parser.add_argument("--pointer", type=Path, help="folder of a Molmo2 pointing model")
    parser.add_argument("--device", default="", help="of these models: cuda if there is one, cpu")
    parser.add_argument(
        "--statistics", type=Path, help="keep this file's bins (a checkpoint's, another data set's)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")


def card_of(values: argparse.Namespace) -> DataCard:
    """The card of these options. Raises BadCard, OSError, JSONDecodeError."""
    given = given_fields(values)
    card = DataCard(software=f"{software_version()} {software_commit()}".strip())
    card = card_from_dict({**(COMPAT if values.compat else {}), **given}, card)
    if values.depth_agreement is not None and not values.depth_estimator:
        raise BadCard("--depth-agreement: give the estimator too, by --depth-estimator")
    if values.depth_estimator and values.depth_agreement is None and "depth_source" not in given:
        card = replace(card, depth_source="estimate")
    if card.depth_source == "estimate" and not values.depth_estimator:
        raise BadCard("card: depth_source is estimate; give the estimator by --depth-estimator")
    if values.pointer and "trace_source" not in given:
        card = replace(card, trace_source="molmo")
    if card.trace_source == "molmo" and not values.pointer:
        raise BadCard("card: trace_source is molmo; give the pointing model by --pointer")
    if card.depth_source != "none":
        card = replace(card, depth_codebook=codebook_of(values.depth_weights or PACKAGE_WEIGHTS))
    return card


def topics_of(values: argparse.Namespace) -> BagTopics:
    """The topics of this set-up. Raises BadCard, OSError, JSONDecodeError."""
    if not values.topics:
        return BagTopics()
    given = json.loads(values.topics.read_text(encoding="utf-8"))
    if not isinstance(given, dict):
        raise BadCard(f"{values.topics}: expected names with topics, found {type(given).__name__}")
    known = [field.name for field in fields(BagTopics)]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise BadCard(f"{values.topics}: unknown name {unknown[0]!r}; known: {', '.join(known)}")
    images = given.pop("images", dict(BagTopics().images))
    if not isinstance(images, dict) or not all(isinstance(v, str) for v in given.values()):
        raise BadCard(f"{values.topics}: expected images as cameras with topics, the rest as text")
    return BagTopics(images=tuple((str(k), str(v)) for k, v in images.items()), **given)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{count} frames; compare one at least")
    return count


def given_fields(values: argparse.Namespace) -> dict[str, object]:
    """Card fields that the operator chose himself."""
    found = json.loads(values.card.read_text(encoding="utf-8")) if values.card else {}
    if not isinstance(found, dict):
        raise BadCard(f"{values.card}: expected fields with values, found {type(found).__name__}")
    for text in values.fields:
        name, _, value = text.partition("=")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
