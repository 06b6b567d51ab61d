"""Finding things in the pictures, as an aim of its own while a small network learns.

The head reads what the connector hands to the language model: for every thing, which of the
picture's tokens it is in, where in the picture that token says it is, and how it is turned. It is
thrown away after training.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from molmoact_ros.data.landmarks import CUBE_COUNT, NAMES, VALUES


class Sight(nn.Module):
    """width: of an image token; grid: tokens a side of a picture; tokens: in all of a picture."""

    def __init__(self, width: int, grid: int, tokens: int) -> None:
        super().__init__()
        self._grid, self._tokens, self._width = grid, tokens, width
        self.place = nn.Linear(width, len(NAMES))
        self.inside = nn.Linear(width, 2 * len(NAMES))
        self.turn = nn.Linear(width, 2 * CUBE_COUNT)

    def forward(self, features: torch.Tensor, landmarks: torch.Tensor) -> dict[str, torch.Tensor]:
        """features [pictures * tokens, width] in reading order, landmarks float32 [B, values].

        Returns mean losses: place (nats), inside (from the middle, in windows, smooth L1), turn (of
        the unit circle), size (squared log of the features' mean square).
        """
        cells, things = self._grid**2, len(NAMES)
        marks = landmarks.reshape(-1, things, VALUES)
        # The low-resolution crop comes first; without tiles the rest repeats it.
        rows = features.reshape(-1, self._tokens, self._width)[:, :cells].float()
        # Nothing else here minds how large features grow; a language model whose text has length 1
        # cannot learn beside pictures of length 1,000: its attention sees nothing else.
        size = rows.square().mean(-1).clamp(min=1e-6).log().square().mean()
        rows = functional.rms_norm(rows, (self._width,))
        spot = (marks[..., :2] * self._grid).clamp(0.0, self._grid - 1e-3)
        cell = spot.floor()
        index = (cell[..., 1] * self._grid + cell[..., 0]).long()
        seen = marks[..., 2] > 0.5
        logits = self.place(rows).float().transpose(1, 2)
        place = functional.cross_entropy(logits[seen], index[seen])
        picked = torch.arange(len(rows), device=rows.device)[:, None]
        here = rows[picked, index]
        offsets = self.inside(here).float().unflatten(-1, (things, 2))
        own = torch.arange(things, device=rows.device)
        offsets = offsets[:, own, own]
        # From the picture's middle, not from the window's: the language model is told no place of a
        # token that is precise enough to copy, so what the token says must hold all of it.
        where = spot - self._grid / 2
        inside = functional.smooth_l1_loss(offsets[seen], where[seen], beta=0.05)
        cubes = seen[:, :CUBE_COUNT]
        turns = self.turn(here[:, :CUBE_COUNT]).float().unflatten(-1, (CUBE_COUNT, 2))
        turns = turns[:, own[:CUBE_COUNT], own[:CUBE_COUNT]]
        angle = 4.0 * marks[:, :CUBE_COUNT, 3]
        wanted = torch.stack([angle.cos(), angle.sin()], dim=-1)
        turn = functional.mse_loss(turns[cubes], wanted[cubes]) if bool(cubes.any()) else inside * 0
        return {"place": place, "inside": inside, "turn": turn, "size": size}
