"""How a VQ-VAE's code vectors follow the latents: moving averages, k-means start, revival.

Moving averages after van den Oord et al. 2017, appendix A.1; the start and the revival are ours.
Latents are float32 [N, code_size], one row a grid cell. With several processes each has its part
of the batch's latents and all end with the same code vectors.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molmoact_ros.model.depth_vqvae import Codebook
from molmoact_ros.train.processes import World

ALONE = World(0, 1, torch.device("cpu"))


def update_codebook(
    book: Codebook,
    flat: Tensor,
    codes: Tensor,
    decay: float,
    epsilon: float = 1e-5,
    world: World = ALONE,
) -> None:
    """One moving-average step of the code vectors, in place.

    flat: latents float32 [N, code_size]; codes: their indices [N].
    """
    members = functional.one_hot(codes, book.vectors.shape[0]).to(flat.dtype)
    counted = torch.cat([members.sum(0)[:, None], members.t() @ flat], dim=1)
    if world.size > 1:
        dist.all_reduce(counted)
    book._ema_cluster_size.mul_(decay).add_(counted[:, 0], alpha=1 - decay)
    book._ema_w.mul_(decay).add_(counted[:, 1:], alpha=1 - decay)
    total = book._ema_cluster_size.sum()
    # Laplace smoothing: a code with hardly any members must not divide by zero.
    size = (book._ema_cluster_size + epsilon) / (total + len(members[0]) * epsilon) * total
    book.vectors.copy_(book._ema_w / size[:, None])


def revive_dead_codes(
    book: Codebook, flat: Tensor, share: float, rng: torch.Generator, world: World = ALONE
) -> int:
    """Move codes used less than ``share`` of an even use onto random latents; how many.

    rng: on the CPU, in the same state in all processes.
    """
    size = book._ema_cluster_size
    even = size.sum() / len(size)
    dead = (size < share * even).nonzero().flatten()
    if len(dead):
        rows = torch.randint(len(flat) * world.size, (len(dead),), generator=rng).to(flat.device)
        owner, row = rows // len(flat), rows % len(flat)
        chosen = flat[row] * (owner == world.rank)[:, None]
        if world.size > 1:
            dist.all_reduce(chosen)
        book.vectors[dead] = chosen
        # A quarter of an even share lets the newcomer live long enough to prove itself.
        size[dead] = 0.25 * even
        book._ema_w[dead] = chosen * size[dead][:, None]
    return len(dead)


def start_codebook(book: Codebook, flat: Tensor, rng: torch.Generator, rounds: int = 12) -> None:
    """k-means of latents [N, code_size] as the first code vectors, in place."""
    count = book.vectors.shape[0]
    book.vectors.copy_(flat[torch.randperm(len(flat), generator=rng)[:count].to(flat.device)])
    for _ in range(rounds):
        codes = torch.cdist(flat, book.vectors).argmin(1)
        members = functional.one_hot(codes, count).to(flat.dtype)
        size = members.sum(0)
        means = members.t() @ flat / size.clamp(min=1)[:, None]
        refill = flat[torch.randint(len(flat), (count,), generator=rng).to(flat.device)]
        book.vectors.copy_(torch.where(size[:, None] > 0, means, refill))
    book._ema_cluster_size.fill_(1.0)
    book._ema_w.copy_(book.vectors)


def usage(counts: NDArray[np.floating]) -> tuple[int, float]:
    """Codes used and perplexity (2^entropy: so many, if all were used evenly) of counts [K]."""
    share = counts[counts > 0] / max(float(counts.sum()), 1e-12)
    return len(share), float(np.exp(-(share * np.log(share)).sum()))
