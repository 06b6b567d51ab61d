"""AdamW in three groups (language model, connector, vision), each with its rate and its clip.

On wish the matrices of the blocks are trained by Muon instead, which needs fewer samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from molmoact_ros.train.recipe import Recipe

GROUPS = ("llm", "connector", "vit")


def group_of(name: str) -> str:
    """By parameter name; wrappers may put words before it."""
    if "image_vit" in name:
        return "vit"
    if "vision_backbone" in name or "sight." in name:
        return "connector"
    return "llm"


def train_parts(network: nn.Module, recipe: Recipe) -> None:
    """A part with rate 0 stays as it is: no gradients, and run checkpoints do not hold it."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_rates(recipe)[group_of(name)] > 0.0)


def _rates(recipe: Recipe) -> dict[str, float]:
    return {"llm": recipe.lr_llm, "connector": recipe.lr_connector, "vit": recipe.lr_vit}


def make_optimisers(
    module: nn.Module, recipe: Recipe, fused: bool
) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW with betas 0.9 and 0.95, eps 1e-6 (paper, table of hyper-parameters).

    With ``recipe.muon`` a second one for the blocks' matrices: Muon with the step size scaled to
    that of AdamW (arXiv 2502.16982), so that the same rates serve both.
    """
    peaks = _rates(recipe)
    plain: dict[str, dict[str, Any]] = {}
    matrices: dict[str, dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        part = group_of(name)
        if recipe.muon > 0.0 and "blocks." in name and parameter.ndim == 2:
            _add(matrices, f"{part}_matrices", peaks[part] * recipe.muon, parameter)
        else:
            _add(plain, part, peaks[part], parameter)
    decay = recipe.weight_decay
    made: list[torch.optim.Optimizer] = []
    if plain:
        made.append(
            torch.optim.AdamW(
                _in_order(plain), betas=(0.9, 0.95), eps=1e-6, weight_decay=decay, fused=fused
            )
        )
    if matrices:
        made.append(
            torch.optim.Muon(
                _in_order(matrices), weight_decay=decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return tuple(made)


def _add(groups: dict[str, dict[str, Any]], name: str, peak: float, one: nn.Parameter) -> None:
    group = groups.setdefault(name, {"params": [], "lr": peak, "peak": peak, "name": name})
    group["params"].append(one)


def _in_order(groups: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """As GROUPS: what a run has saved is found again by its place."""
    return sorted(groups.values(), key=lambda group: GROUPS.index(group["name"].split("_")[0]))


def rate_share(step: int, recipe: Recipe) -> float:
    """Share of the peak rate: linear warm-up from 0, then a cosine to ``final_share``."""
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    rest = max(recipe.steps - recipe.warm_up, 1)
    done = min((step - recipe.warm_up) / rest, 1.0)
    low = recipe.final_share
    return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * done))


def set_rates(optimisers: Sequence[torch.optim.Optimizer], share: float) -> None:
    for group in _groups(optimisers):
        group["lr"] = group["peak"] * share


def _groups(optimisers: Sequence[torch.optim.Optimizer]) -> list[dict[str, Any]]:
    return [group for optimiser in optimisers for group in optimiser.param_groups]


@torch.no_grad()
def clip_groups(optimisers: Sequence[torch.optim.Optimizer], limit: float) -> Mapping[str, float]:
    """Scale each group's gradients to a norm of at most ``limit``; the norms before."""
    norms: dict[str, float] = {}
    for group in _groups(optimisers):
        gradients = [p.grad for p in group["params"] if p.grad is not None]
        if not gradients:
            continue
        norm = torch.nn.utils.get_total_norm(gradients)
        total = norm.full_tensor() if isinstance(norm, DTensor) else norm
        norms[str(group["name"])] = float(total)
        if limit > 0.0:
            torch.nn.utils.clip_grads_with_norm_(group["params"], limit, total)
    return norms
