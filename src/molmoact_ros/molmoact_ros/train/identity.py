"""What decides which sample comes when: a run that continues must find it unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmoact_ros.data.card import load_card
from molmoact_ros.data.dataset import STATISTICS, read_episodes
from molmoact_ros.model.config import read_json
from molmoact_ros.train.stream import Source

_EPISODE = ("episode_id", "split", "ticks", "usable")


def identity_of(source: Source) -> dict[str, Any]:
    """For a saved state: seed, shares, and of each data set its folder and digests of what would
    change order or meaning. Raises BadData or BadCard.
    """
    return {
        "data_seed": source.recipe.data_seed,
        "pack": source.recipe.pack,
        "weights": list(source.weights) if source.weights else None,
        "sets": [_set(folder) for folder in source.folders],
    }


def changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Sentences about what is not as it was; empty when a run may continue."""
    found = [
        f"{name} was {saved[name]}, is {now[name]}"
        for name in ("data_seed", "pack", "weights")
        if saved.get(name) != now[name]
    ]
    if len(saved["sets"]) != len(now["sets"]):
        return [*found, f"there were {len(saved['sets'])} data sets, now {len(now['sets'])}"]
    for old, new in zip(saved["sets"], now["sets"], strict=True):
        where = new["folder"]
        for name in ("card", "statistics"):
            if old[name] != new[name]:
                found.append(f"{where}: its {name} changed")
        if old["episodes"] != new["episodes"]:
            found.append(
                f"{where}: its episodes changed ({old['count']} were known, {new['count']} now)"
            )
    return found


def _set(folder: Path) -> dict[str, Any]:
    card = load_card(folder).travelling
    episodes = read_episodes(folder)
    table = read_json(folder / STATISTICS)
    return {
        "folder": str(folder),
        # The card's own digest names the software too, which may be a newer one.
        "card": _digest({name: value for name, value in card.items() if name != "card"}),
        "statistics": _digest({name: entry.get("action") for name, entry in table.items()}),
        "episodes": _digest([[entry.get(name) for name in _EPISODE] for entry in episodes]),
        "count": len(episodes),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
