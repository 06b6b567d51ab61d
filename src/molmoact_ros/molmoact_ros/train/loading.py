"""The network of a run in memory: where it lies and in which precision, before and after it is
spread over processes.

A sharded network is mapped from its file (the pages of a file are shared by all processes of a
machine), cut, and only a process's own part is copied, moved and made float32.
"""

from __future__ import annotations

from pathlib import Path

import torch

from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.train.adapters import add_adapters
from molmoact_ros.train.loss import Learner
from molmoact_ros.train.optimiser import train_parts
from molmoact_ros.train.processes import World
from molmoact_ros.train.recipe import Recipe


def load_network(base: Path, recipe: Recipe, world: World) -> MolmoAct:
    """With what is trained marked and adapters added. Raises CheckpointError."""
    if _cut(recipe, world):
        network = load_checkpoint(base, "cpu", None).model
    else:
        network = load_checkpoint(base, str(world.device), _kept(recipe, world)).model
    if recipe.method == "lora":
        add_adapters(network, recipe.rank, recipe.alpha, recipe.seed)
    else:
        train_parts(network, recipe)
    return network


def settle(learner: Learner, recipe: Recipe, world: World) -> None:
    """Bring what is left of a spread network to its device and precision: trained numbers are
    float32, frozen ones as the device likes them.
    """
    kept = _kept(recipe, world)

    def place(values: torch.Tensor) -> torch.Tensor:
        dtype = torch.float32 if values.requires_grad else kept
        return values.to(world.device, dtype if values.is_floating_point() else values.dtype)

    learner._apply(place)


def _cut(recipe: Recipe, world: World) -> bool:
    return recipe.mode == "shard" and world.size > 1


def _kept(recipe: Recipe, world: World) -> torch.dtype:
    frozen16 = world.device.type == "cuda" and recipe.method == "lora"
    return torch.bfloat16 if frozen16 else torch.float32
