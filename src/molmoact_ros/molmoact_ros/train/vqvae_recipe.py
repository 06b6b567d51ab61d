"""The numbers of a depth VQ-VAE's training. ``paper``: those that were published."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from molmoact_ros.train.recipe import BadRecipe

_BUDGET = ("epochs", "minutes")


@dataclass(frozen=True)
class VqVaeRecipe:
    """Published (data contract, section 8): epochs, batch (over all processes), learning_rate,
    mean squared error, commitment (weight of that term), decay (of the codebook's averages).

    Ours: minutes (budget instead of epochs, where above 0). warm_up: share of the budget that
    trains a plain autoencoder, whose latents' k-means then starts the codebook; a random start
    leaves most codes unused. revive_every: steps between moving unused codes onto latents of the
    batch, 0 never; it ends after three quarters of the budget. edges: weight of the error of
    neighbouring pixels' differences, which keeps small objects. scaled: the squared error is
    divided by the pictures' variance. cosine: the rate falls to 3 %. precision: bf16, float32 or
    auto (bf16 on a GPU).
    """

    epochs: float = 20.0
    minutes: float = 0.0
    batch: int = 64
    learning_rate: float = 1e-3
    commitment: float = 0.25
    decay: float = 0.99
    warm_up: float = 0.08
    revive_every: int = 0
    edges: float = 0.0
    scaled: bool = False
    cosine: bool = False
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = {
            "epochs": self.epochs <= 0.0,
            "minutes": self.minutes < 0.0,
            "batch": self.batch < 1,
            "learning_rate": self.learning_rate <= 0.0,
            "commitment": self.commitment < 0.0,
            "decay": not 0.0 <= self.decay < 1.0,
            "warm_up": not 0.0 <= self.warm_up < 1.0,
            "revive_every": self.revive_every < 0,
            "edges": self.edges < 0.0,
            "precision": self.precision not in ("auto", "bf16", "float32"),
        }
        for name, bad in wrong.items():
            if bad:
                raise BadRecipe(f"{name} is {getattr(self, name)!r}; see molmoact vqvae train -h")

    def steps(self, maps: int) -> int:
        """Steps of a run by epochs over so many maps."""
        return max(1, math.ceil(self.epochs * maps / self.batch))

    def rate(self, step: int, done: float) -> float:
        """Learning rate of a step, ``done`` (0..1) of the budget being spent."""
        if not self.cosine:
            return self.learning_rate
        fall = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * min(1.0, (step + 1) / 50) * fall

    @property
    def fixed(self) -> dict[str, float | int | str | bool]:
        """What may not change when a run continues: everything but the budget."""
        return {k: v for k, v in asdict(self).items() if k not in _BUDGET}


PRESETS: Mapping[str, VqVaeRecipe] = MappingProxyType(
    {
        "paper": VqVaeRecipe(),
        "packaged": VqVaeRecipe(
            minutes=55.0, batch=16, revive_every=20, edges=2.0, scaled=True,
            cosine=True, precision="bf16",
        ),
    }
)  # fmt: skip
"""``packaged``: how this package's own weights were made, on one core."""
