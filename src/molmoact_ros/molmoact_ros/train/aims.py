"""What a question is about, as numbers that only training sees.

An answer's symbols teach slowly which of four cubes the words mean: a wrong place costs as much
as a slightly wrong one. The same told as positions, half way up the language model and at every
token of the answer, has a slope everywhere. The head is thrown away after training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from molmoact_ros.data.dataset import Tick
from molmoact_ros.data.landmarks import CUBE_COUNT, NAMES, read_landmarks
from molmoact_ros.policy.scripted.percept import BOWL, PLATE
from molmoact_ros.reasoning.actions import decode

VALUES = 21
"""u, v of the thing to move, the place for it and the tool in the first picture and of the thing
in the second (-1..1); the mean motion of the first rows [6], gripper of the first and last row,
whether there is a place; how the cube is turned in the second picture (cosine and sine of four
times its angle); and as whole numbers the thing and the place (of NAMES; none: the tool).
"""
_NUMBERS, _ROWS = 19, 4
_THINGS = re.compile(r"\b(red|green|blue|yellow|plate|bowl)\b")


def named(words: str) -> list[str]:
    """Things of an instruction in the order of their names, each once."""
    names = (m if m in (PLATE, BOWL) else f"{m}_cube" for m in _THINGS.findall(words))
    return list(dict.fromkeys(names))


def aims_of(tick: Tick, told: bool = True) -> NDArray[np.float32]:
    """float32 [VALUES]; NaN where it is not known or not seen. told: the words say what to do."""
    out = np.full(VALUES, np.nan, np.float32)
    rows = decode(tick.bins)
    out[8:14] = rows[:_ROWS, :6].mean(axis=0)
    out[14:16] = rows[0, 6], rows[-1, 6]
    things = named(tick.instruction)
    if tick.landmarks is None or not things:
        return out
    marks = read_landmarks(tick.landmarks)
    out[16] = float(len(things) > 1)
    if told:
        out[_NUMBERS] = NAMES.index(things[0])
        out[_NUMBERS + 1] = NAMES.index(things[1] if len(things) > 1 else NAMES[-1])
    for place, picture, name in (
        (0, 0, things[0]),
        (2, 0, things[1] if len(things) > 1 else ""),
        (4, 0, NAMES[-1]),
        (6, 1, things[0]),
    ):
        if name in NAMES and picture < len(marks.uv):
            index = NAMES.index(name)
            if marks.seen[picture, index]:
                out[place : place + 2] = 2.0 * marks.uv[picture, index] - 1.0
                if picture == 1 and index < CUBE_COUNT:
                    angle = 4.0 * marks.angle[picture, index]
                    out[17:19] = np.cos(angle), np.sin(angle)
    return out


class Aims(nn.Module):
    """width: of a hidden state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, _NUMBERS)
        self.names = nn.Linear(width, 2 * len(NAMES))

    def forward(
        self, early: torch.Tensor, middle: torch.Tensor, wanted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean smooth L1 of the numbers that are known, from ``middle``; mean cross-entropy of the
        names, from ``early``: the words must be read before the picture can be searched.

        early, middle [N, width]; wanted float32 [N, VALUES].
        """
        found = self.read(_even(middle)).float()
        numbers = wanted[:, :_NUMBERS]
        known = ~numbers.isnan()
        where = functional.smooth_l1_loss(found[known], numbers[known], beta=0.05)
        told = ~wanted[:, _NUMBERS:].isnan()
        names = self.names(_even(early)).float().unflatten(-1, (2, -1))
        if not bool(told.any()):
            return where, names.sum() * 0.0
        return where, functional.cross_entropy(names[told], wanted[:, _NUMBERS:][told].long())


def _even(hidden: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(hidden.float(), hidden.shape[-1:])


def stacked(packs: Sequence[NDArray[np.float32] | None], most: int) -> torch.Tensor | None:
    """[B, most, VALUES] with NaN behind the last; None where a pack has none."""
    out = np.full((len(packs), most, VALUES), np.nan, np.float32)
    for row, aims in enumerate(packs):
        if aims is None:
            return None
        out[row, : len(aims)] = aims
    return torch.from_numpy(out)
