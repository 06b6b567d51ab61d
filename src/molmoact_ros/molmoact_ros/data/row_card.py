"""What of a card shapes an episode's rows: the episodes of one data set must agree in it.

The rest of the card is used later (bins, padding, crops) or only told (software), so changing it
needs no picture and no depth code again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from molmoact_ros.data.card import DataCard

RULES = 1
"""Add one when a change of this package makes other rows of the same bag and card."""
_USED_LATER = {
    "name", "gripper_raw", "end_padding", "center_crop", "crop_moves_trace", "success_required",
    "software",
}  # fmt: skip


def row_card(card: DataCard) -> str:
    """Those fields as JSON, for an episode's ``info``."""
    chosen = {name: value for name, value in asdict(card).items() if name not in _USED_LATER}
    return json.dumps({**chosen, "rules": RULES}, sort_keys=True)


def unlike(info: Mapping[str, str], card: DataCard) -> list[str]:
    """How the rows of an episode differ from those ``card`` asks for; empty when they do not."""
    wanted = json.loads(row_card(card))
    if "row_card" not in info:
        return ["made by an earlier version or another command, which did not say how"]
    found = json.loads(info["row_card"])
    return [
        f"{name} was {found.get(name)!r}, is {wanted.get(name)!r}"
        for name in sorted(wanted.keys() | found.keys())
        if found.get(name) != wanted.get(name)
    ]
