"""Saved states of a run: what is trained, the optimiser, and one whole number for the samples.

torch.distributed.checkpoint: written by all processes, readable by another number of them. A
folder counts only when its ``state.json`` is there, which comes last.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)

from molmoact_ros.train.identity import changes
from molmoact_ros.train.processes import World
from molmoact_ros.train.recipe import BadRecipe, Recipe

STATE = "state.json"
_NAME = re.compile(r"step-(\d{8})")


def newest(folder: Path) -> Path | None:
    """The last complete checkpoint of a run."""
    found = [
        path
        for path in folder.glob("step-*")
        if _NAME.fullmatch(path.name) and (path / STATE).is_file()
    ]
    return max(found, default=None)


def save_state(
    folder: Path,
    module: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    step: int,
    recipe: Recipe,
    world: World,
    data: Mapping[str, Any],
) -> Path:
    """Write ``step-N`` below ``folder`` and forget old ones. Every process calls it. data: what
    ``identity_of`` says about the samples.
    """
    path = folder / f"step-{step:08d}"
    if world.first and path.exists() and not (path / STATE).is_file():
        shutil.rmtree(path)
    world.wait()
    state_dict_saver.save(_state(module, optimisers), checkpoint_id=path, no_dist=world.size == 1)
    if world.first:
        position = {"step": step, "position": step * recipe.batch, "batch": recipe.batch}
        scratch = path / "state.part"
        scratch.write_text(json.dumps({**position, "data": data}) + "\n", encoding="utf-8")
        scratch.replace(path / STATE)
        complete = sorted(p for p in folder.glob("step-*") if (p / STATE).is_file())
        for old in complete[: -recipe.keep]:
            shutil.rmtree(old)
    world.wait()
    return path


def load_state(
    path: Path,
    module: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    recipe: Recipe,
    world: World,
    data: Mapping[str, Any] | None = None,
) -> int:
    """Continue from ``path``; the step that comes next. data: what is trained on now, None where
    that does not matter. Raises BadRecipe for another batch or other data.
    """
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    if state["batch"] != recipe.batch:
        raise BadRecipe(
            f"{path} was trained with batches of {state['batch']}, the recipe says {recipe.batch}; "
            "keep the batch, or choose another output folder"
        )
    if data is not None and "data" in state and (wrong := changes(state["data"], data)):
        raise BadRecipe(
            f"{path} cannot be continued at the same sample: {'; '.join(wrong)}. Train on the data "
            "it was trained on, or choose another output folder (with --base an export of this run)"
        )
    values = _state(module, optimisers)
    state_dict_loader.load(values, checkpoint_id=path, no_dist=world.size == 1)
    options = StateDictOptions(strict=False, ignore_frozen_params=True)
    set_state_dict(
        module,
        optimisers,
        model_state_dict=values["module"],
        optim_state_dict=values.get("optimiser", {}),
        options=options,
    )
    return int(state["step"])


def _state(module: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    options = StateDictOptions(ignore_frozen_params=True)
    weights, moments = get_state_dict(module, optimisers, options=options)
    return {"module": weights, "optimiser": moments} if optimisers else {"module": weights}
