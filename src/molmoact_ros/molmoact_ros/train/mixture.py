"""Several labelled data sets in one run: what has to agree, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molmoact_ros.data.card import BadCard, differences, load_card
from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.model.config import read_json
from molmoact_ros.reasoning.statistics import read_statistics
from molmoact_ros.train.recipe import BadRecipe


def check_mixture(folders: Sequence[Path]) -> None:
    """Sets under one statistics key must mean the same motion by the same symbol; sets of other
    robots have keys of their own. Raises BadCard naming the two that do not fit.
    """
    known: dict[str, Path] = {}
    for folder in folders:
        card = load_card(folder)
        first = known.setdefault(card.name, folder)
        if first is folder:
            continue
        wrong = differences(load_card(first).travelling, card.travelling)
        ours, theirs = (
            read_statistics({"norm_stats": read_json(path / STATISTICS)}, card.name)
            for path in (folder, first)
        )
        if not (np.allclose(ours.q01, theirs.q01) and np.allclose(ours.q99, theirs.q99)):
            wrong.append("their action bins differ")
        if wrong:
            raise BadCard(
                f"{folder} and {first} are both called '{card.name}', but {'; '.join(wrong)}. "
                f"Label again with --statistics {first / STATISTICS} and the same card, or give "
                "one of them another name (--set 'name=\"other\"')"
            )


def check_weights(folders: Sequence[Path], weights: Sequence[float] | None) -> None:
    """One positive share a set. Raises BadRecipe."""
    if weights is None:
        return
    if len(weights) != len(folders) or not all(0.0 < weight < 1e6 for weight in weights):
        raise BadRecipe(
            f"--weights {' '.join(f'{weight:g}' for weight in weights)}: give a positive share "
            f"for each of the {len(folders)} data sets"
        )
