"""One process or many: who am I, what do we share, and how gradients become one.

Started by torchrun or alone. ``replicate``: every process holds the network, gradients of what is
trained are summed. ``shard``: FSDP2 spreads the frozen or trained network over processes;
adapters, being small, stay whole everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from molmoact_ros.train.loss import Learner

PATIENCE = timedelta(hours=1)
"""The others wait while the first process decodes held-out answers or saves; ten minutes, the
usual time, can be too short for that.
"""


@dataclass(frozen=True)
class World:
    """rank of size processes; device of this one."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def summed(self, value: float) -> float:
        """The sum over processes, on all of them."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self._reduce_device)
        dist.all_reduce(total)
        return float(total)

    def any(self, value: bool) -> bool:
        """Whether it holds anywhere: a signal reaches one process, all must stop."""
        return self.summed(float(value)) > 0.0

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()

    @property
    def _reduce_device(self) -> torch.device:
        return self.device if self.device.type == "cuda" else torch.device("cpu")


def join_world(device: str = "") -> World:
    """Join the processes that torchrun started; alone without it."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.device(kind)
    if kind == "cuda":
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(where)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    return World(rank, size, where)


def leave_world(world: World) -> None:
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def spread(learner: Learner, world: World, mode: str) -> list[nn.Parameter]:
    """Shard the network if asked; parameters whose gradients must be summed by hand."""
    trained = [p for p in learner.parameters() if p.requires_grad]
    if world.size == 1 or mode == "replicate":
        return trained
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    frozen_base = any(not p.requires_grad for p in learner.parameters())
    whole = set(trained) if frozen_base else set()
    network = learner.network
    vit = network.model.vision_backbone.image_vit.transformer.resblocks
    modules: list[Any] = [*network.model.transformer.blocks, *vit, learner]
    for module in modules:
        sharded: Any = fully_shard(module, mesh=mesh, ignored_params=whole)
        # Losses are divided by the global count of tokens: gradients add up, they do not average.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum
    register_fsdp_forward_method(learner, "whole")
    return trained if frozen_base else []


def sum_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """All-reduce in one flat message a dtype; missing gradients count as zero."""
    if world.size == 1 or not parameters:
        return
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([g.reshape(-1).float() for g in gradients])
    dist.all_reduce(flat)
    start = 0
    for gradient in gradients:
        part = flat[start : start + gradient.numel()]
        gradient.copy_(part.view_as(gradient))
        start += gradient.numel()
