"""Depth maps that are learned in a few steps, and short runs on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from molmoact_ros.model.depth_vqvae import VqVaeShape
from molmoact_ros.train.depth_shards import open_folder, write_shard
from molmoact_ros.train.processes import World
from molmoact_ros.train.vqvae_loop import VqVaeRun
from molmoact_ros.train.vqvae_recipe import VqVaeRecipe

SMALL = VqVaeShape(width=4, codes=16, code_size=16)
ALONE = World(0, 1, torch.device("cpu"))
SHORT = VqVaeRecipe(epochs=2.2, batch=4, learning_rate=0.01, warm_up=0.4, scaled=True)
TOGETHER = replace(
    SHORT, epochs=1.2, learning_rate=3e-4, warm_up=0.2, revive_every=2, edges=0.5, scaled=False
)


def ramps(count: int, first: int = 0) -> Iterator[np.ndarray]:
    y, x = np.mgrid[0:320, 0:320] / 319.0
    for i in range(first, first + count):
        angle = 2.0 * np.pi * i / 11.0
        ramp = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) / 1.42 + 0.5
        yield (ramp * 255).astype(np.uint8)


def ramp_maps(folder: Path) -> Path:
    """Four shards of seven; one of them is held out."""
    open_folder(folder, {"depth": "ramps"})
    for shard in range(4):
        write_shard(folder, f"shard{shard}", ramps(7, 7 * shard))
    return folder


def run_of(maps: Path, out: Path, recipe: VqVaeRecipe, world: World = ALONE) -> VqVaeRun:
    return VqVaeRun([maps], recipe, out, world, SMALL, threads=1)
