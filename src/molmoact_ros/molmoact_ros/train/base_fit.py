"""Whether data sets mean by a symbol what the checkpoint that they are to train means by it.

New statistics under a new key are the normal way to teach a released model another robot. Under a
key that the checkpoint knows, other bins or another card would silently shift every motion; codes
of another depth VQ-VAE would be foreign words under any key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from molmoact_ros.data.card import CARD_FILE, BadCard, DataCard, differences, load_card
from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.model.checkpoint import read_origin
from molmoact_ros.model.codebook import codebook_of
from molmoact_ros.model.config import load_config
from molmoact_ros.reasoning.statistics import CARD, ActionStatistics, read_statistics
from molmoact_ros.train.recipe import Recipe

_CODES = "depth_codebook"


def check_base(
    base: Path,
    folders: Sequence[Path],
    recipe: Recipe,
    new_statistics: bool = False,
    new_codes: bool = False,
) -> None:
    """Raises BadCard for a data set that differs from ``base``; the two switches say that it does
    so on purpose. Random weights know nothing that could differ.
    """
    if read_origin(base).upper().startswith("RANDOM"):
        return
    table = load_config(base).norm_stats
    cards = [dict(entry.get(CARD, {})) for entry in table.values()]
    for folder in folders:
        card = load_card(folder)
        if card.name in table and not new_statistics:
            wrong = _unlike(card, folder, statistics_of(table, card.name, base))
            if wrong:
                name = STATISTICS if (base / STATISTICS).is_file() else "config.json"
                raise BadCard(
                    f"{folder} and {base} both know '{card.name}', but {'; '.join(wrong)}. Label "
                    f"again with --statistics {base / name} and the same card, or under a name of "
                    "its own (--set 'name=\"mine\"'), or change what it means: --new-statistics"
                )
        if (recipe.reason > 0.0 or recipe.depth > 0.0) and not new_codes:
            _check_codes(base, cards, folder, card)


def statistics_of(source: object, key: str, where: Path) -> ActionStatistics:
    """As ``read_statistics``. Raises BadCard naming the folder."""
    try:
        return read_statistics(source, key)  # type: ignore[arg-type]
    except ValueError as error:
        raise BadCard(f"{where}: {error}") from error


def bins_differ(ours: ActionStatistics, theirs: ActionStatistics) -> bool:
    """Whether a symbol stands for another motion."""
    return ours.dims != theirs.dims or not (
        np.allclose(ours.q01, theirs.q01)
        and np.allclose(ours.q99, theirs.q99)
        and np.array_equal(ours.scaled, theirs.scaled)
    )


def _unlike(card: DataCard, folder: Path, theirs: ActionStatistics) -> list[str]:
    wrong = [
        words
        for words in differences(theirs.card, card.travelling)
        if not words.startswith(_CODES)  # a question of its own, see below
    ]
    if bins_differ(statistics_of(folder / STATISTICS, card.name, folder), theirs):
        wrong.append("their action bins differ")
    return wrong


def _check_codes(
    base: Path, cards: Sequence[Mapping[str, object]], folder: Path, card: DataCard
) -> None:
    ours = card.depth_codebook
    if card.depth_source == "none" or not ours:
        return
    remedy = "or teach it other codes on purpose with --new-depth-codes"
    if not (base / CARD_FILE).is_file() and not any(cards):
        if ours == codebook_of():
            raise BadCard(
                f"{folder}: its depth codes were made with this package's VQ-VAE, but {base} has "
                "no card: released weights write the codes of vae-final.pt. Label again with "
                f"--depth-weights vae-final.pt, {remedy}"
            )
        return
    theirs = {str(known[_CODES]) for known in cards if known.get(_CODES)}
    if not theirs and (base / CARD_FILE).is_file():
        theirs = {load_card(base).depth_codebook} - {""}
    if theirs and ours not in theirs:
        raise BadCard(
            f"{folder}: its depth codes are those of code book {ours}, but {base} writes those of "
            f"{' and '.join(sorted(theirs))}. Label again with the VQ-VAE that it was trained "
            f"with (--depth-weights), {remedy}"
        )
