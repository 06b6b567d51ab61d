"""Several labelled data sets in one run: what has to agree, and how often each is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from molmoact_ros.data.card import BadCard, differences, load_card
from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.train.base_fit import bins_differ, statistics_of
from molmoact_ros.train.recipe import BadRecipe


def check_mixture(folders: Sequence[Path]) -> None:
    """Sets under one statistics key must mean the same motion by the same symbol; sets of other
    robots have keys of their own. Depth codes must be of one code book whatever the key: they are
    words of one vocabulary. Raises BadCard naming the two that do not fit.
    """
    known: dict[str, Path] = {}
    codes: dict[str, Path] = {}
    for folder in folders:
        card = load_card(folder)
        if card.depth_source != "none" and card.depth_codebook:
            codes.setdefault(card.depth_codebook, folder)
        ours = statistics_of(folder / STATISTICS, card.name, folder)
        first = known.setdefault(card.name, folder)
        if first is folder:
            continue
        wrong = differences(load_card(first).travelling, card.travelling)
        theirs = statistics_of(first / STATISTICS, card.name, first)
        if bins_differ(ours, theirs):
            wrong.append("their action bins differ")
        if wrong:
            raise BadCard(
                f"{folder} and {first} are both called '{card.name}', but {'; '.join(wrong)}. "
                f"Label again with --statistics {first / STATISTICS} and the same card, or give "
                "one of them another name (--set 'name=\"other\"')"
            )
    if len(codes) > 1:
        books = " and ".join(f"{folder} of {book}" for book, folder in codes.items())
        raise BadCard(
            f"the data sets hold depth codes of different code books ({books}); label all of them "
            "with the same --depth-weights"
        )


def check_crop(folders: Sequence[Path], crop: float) -> None:
    """The random crop of training and the centre crop of the robot must leave the same part.

    Raises BadRecipe.
    """
    for folder in folders:
        centre = load_card(folder).center_crop
        if not math.isclose(crop, centre, abs_tol=1e-6):
            raise BadRecipe(
                f"{folder}: the robot will look at {centre:g} of the picture (center_crop of its "
                f"card), but the recipe crops to {crop:g}; train with --set crop={centre:g}, or "
                f"label again with --set center_crop={crop:g}"
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
