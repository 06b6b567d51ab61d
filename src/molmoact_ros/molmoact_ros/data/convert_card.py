"""The card of an imported data set: what its folder says, what the operator says, the rest told.

Numbers alone do not say whether 1 means open or in which frame a step is taken. What moves the arm
the wrong way when guessed must be said by somebody.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from molmoact_ros.data import libero
from molmoact_ros.data.card import BadCard, DataCard, card_from_dict
from molmoact_ros.data.label_options import given_fields
from molmoact_ros.data.lerobot import own_card
from molmoact_ros.data.lerobot_files import read_info

_NEEDED = {
    "gripper_raw": "1open_0closed",
    "gripper_dims": "[6]",
    "delta_frame": "base",
    "fps": "15",
}
_ASSUMED = ("cameras", "euler", "action_source", "idle_metres", "idle_radians")
MOLMOACT = {"gripper_raw": "0open_1closed", "gripper_dims": [6], "delta_frame": "base"}
"""Of allenai/MolmoAct-Dataset as the public fine-tuning code reads it; no more is published."""


def import_card(values: argparse.Namespace) -> tuple[DataCard, str]:
    """The card of these options of ``molmoact convert``, and a line about what nobody has said.

    Raises BadCard naming the fields that are missing, BadData, OSError, JSONDecodeError.
    """
    given, own = given_fields(values), None
    if values.what == "import-libero":
        known: Mapping[str, Any] = libero.CARD
    elif (own := own_card(values.source)) is not None:
        known = asdict(own)
    else:
        known = {"fps": float(read_info(values.source)["fps"])}
        known |= MOLMOACT if values.molmoact_columns else {}
    said = {**known, **given}
    missing = [name for name in _NEEDED if name not in said]
    if missing:
        options = " ".join(f"--set {name}={_NEEDED[name]}" for name in missing)
        raise BadCard(
            f"{values.source} does not say {', '.join(missing)}; say so, for example {options}"
        )
    card = _sources(card_from_dict(said, DataCard(name=values.source.name)), values, given, own)
    if values.what == "import-lerobot" and card.fps != (fps := read_info(values.source)["fps"]):
        raise BadCard(f"card: fps is {card.fps:g}, the set has {fps:g}; resample it first")
    if own is not None and card.cameras[0] != own.cameras[0] and not _all_new(values):
        raise BadCard(
            f"card: {card.cameras[0]!r} comes first, but depth and traces belong to "
            f"{own.cameras[0]!r}; keep it first or give both --depth-estimator and --pointer"
        )
    return card, _told(card, said, values.molmoact_columns and own is None)


def _all_new(values: argparse.Namespace) -> bool:
    return bool(values.depth_estimator and values.pointer)


def _sources(
    card: DataCard, values: argparse.Namespace, given: Mapping[str, Any], own: DataCard | None
) -> DataCard:
    """Where labels come from: models that were given, else those that came along, else nowhere."""
    if "depth_source" not in given:
        kept = own.depth_source if own else "none"
        card = replace(card, depth_source="estimate" if values.depth_estimator else kept)
    if "trace_source" not in given:
        kept = own.trace_source if own else "none"
        card = replace(card, trace_source="molmo" if values.pointer else kept)
    for field, model, option in (
        ("depth_source", values.depth_estimator, "--depth-estimator"),
        ("trace_source", values.pointer, "--pointer"),
    ):
        found = getattr(card, field)
        if found not in ("none", getattr(own, field) if own else "none") and not model:
            raise BadCard(f"card: {field} is {found!r}, but nothing makes them; give {option}")
    return card


def _told(card: DataCard, said: Mapping[str, Any], molmoact: bool) -> str:
    words = [f"{name} {_word(getattr(card, name))}" for name in _ASSUMED if name not in said]
    line = f"assumed, as nobody says otherwise: {', '.join(words)}" if words else ""
    if molmoact:
        read = ", ".join(f"{name} {_word(getattr(card, name))}" for name in MOLMOACT)
        line += f"{'; ' if line else ''}of MolmoAct-Dataset, as the public code reads it: {read}"
    return f"{line}; change it by --set FIELD=VALUE" if line else ""


def _word(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
