"""AdamW in three groups (language model, connector, vision), each with its rate and its clip."""

from __future__ import annotations

import math
from collections.abc import Mapping

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


def make_optimiser(module: nn.Module, recipe: Recipe, fused: bool) -> torch.optim.AdamW:
    """Betas 0.9 and 0.95, eps 1e-6 (paper, table of hyper-parameters)."""
    peaks = _rates(recipe)
    members: dict[str, list[nn.Parameter]] = {name: [] for name in GROUPS}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            members[group_of(name)].append(parameter)
    groups = [
        {"params": members[name], "lr": peaks[name], "peak": peaks[name], "name": name}
        for name in GROUPS
        if members[name]
    ]
    return torch.optim.AdamW(
        groups, betas=(0.9, 0.95), eps=1e-6, weight_decay=recipe.weight_decay, fused=fused
    )


def rate_share(step: int, recipe: Recipe) -> float:
    """Share of the peak rate: linear warm-up from 0, then a cosine to ``final_share``."""
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    rest = max(recipe.steps - recipe.warm_up, 1)
    done = min((step - recipe.warm_up) / rest, 1.0)
    low = recipe.final_share
    return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * done))


def set_rates(optimiser: torch.optim.Optimizer, share: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


@torch.no_grad()
def clip_groups(optimiser: torch.optim.Optimizer, limit: float) -> Mapping[str, float]:
    """Scale each group's gradients to a norm of at most ``limit``; the norms before."""
    norms: dict[str, float] = {}
    for group in optimiser.param_groups:
        gradients = [p.grad for p in group["params"] if p.grad is not None]
        if not gradients:
            continue
        norm = torch.nn.utils.get_total_norm(gradients)
        total = norm.full_tensor() if isinstance(norm, DTensor) else norm
        norms[str(group["name"])] = float(total)
        if limit > 0.0:
            torch.nn.utils.clip_grads_with_norm_(group["params"], limit, total)
    return norms
