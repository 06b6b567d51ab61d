"""Targets that know their neighbours: action bins and trace coordinates are numbers, not words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.symbols import SYMBOLS
from molmoact_ros.train.recipe import BadRecipe


@dataclass(frozen=True, eq=False)
class BinTargets:
    """Token ids [K] of action bins (or other numbers) in order, and targets softened over
    neighbours.

    A wrong bin next to the right one is a millimetre, far away it is a collision; the ordinary
    loss calls both equally wrong.
    """

    ids: torch.Tensor
    weights: torch.Tensor

    @staticmethod
    def make(ids: Sequence[int], sigma: float) -> BinTargets:
        """weights [K, K]: a row for every bin, normal with ``sigma`` bins, adding up to 1."""
        place = torch.arange(len(ids), dtype=torch.float32)
        weights = torch.exp(-0.5 * ((place[:, None] - place[None]) / sigma) ** 2)
        return BinTargets(torch.tensor(list(ids)), weights / weights.sum(1, keepdim=True))

    def and_also(self, other: BinTargets) -> BinTargets:
        """Both, each softened over its own neighbours only."""
        return BinTargets(
            torch.cat([self.ids, other.ids]), torch.block_diag(self.weights, other.weights)
        )


def misheard(
    ids: NDArray[np.int32],
    learned: NDArray[np.bool_],
    tokens: Sequence[int],
    sigma: float,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """ids [S] with every learned bin (of ``tokens``, in order) moved by a normal number of bins.

    As input, never as target: a network that only ever read an expert's rows takes a tenth of a
    millimetre of its own for another stage of the task.
    """
    place = {token: index for index, token in enumerate(tokens)}
    out = ids.copy()
    for position in np.flatnonzero(learned):
        index = place.get(int(ids[position]))
        if index is not None:
            moved = round(index + float(rng.normal(0.0, sigma)))
            out[position] = tokens[min(max(moved, 0), len(tokens) - 1)]
    return out


def bin_tokens(tokenizer: MolmoActTokenizer) -> list[int]:
    """Token of every bin. Raises BadRecipe for a vocabulary that spells bins in several tokens."""
    found = [tokenizer.encode(f"[{symbol}") for symbol in SYMBOLS]
    if any(len(ids) != 2 for ids in found):
        raise BadRecipe("bin_sigma needs a vocabulary with one token a bin; set it to 0")
    return [ids[1] for ids in found]


def number_tokens(tokenizer: MolmoActTokenizer) -> list[int]:
    """Token of every whole number 0..255. Raises BadRecipe for a vocabulary that splits some."""
    found = [tokenizer.encode(f"[{number}") for number in range(256)]
    if any(len(ids) != 2 for ids in found):
        raise BadRecipe("trace_sigma needs a vocabulary with one token a number; set it to 0")
    return [ids[1] for ids in found]
