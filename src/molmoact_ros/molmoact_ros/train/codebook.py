"""How a VQ-VAE's code vectors follow the latents: moving averages, k-means start, revival.

Moving averages after van den Oord et al. 2017, appendix A.1; latents are float32
[N, code_size], one row a grid cell.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from molmoact_ros.model.depth_vqvae import Codebook


def update_codebook(
    book: Codebook, flat: Tensor, codes: Tensor, decay: float, epsilon: float = 1e-5
) -> None:
    """One moving-average step of the code vectors, in place.

    flat: latents float32 [N, code_size]; codes: their indices [N].
    """
    members = functional.one_hot(codes, book.vectors.shape[0]).to(flat.dtype)
    book._ema_cluster_size.mul_(decay).add_(members.sum(0), alpha=1 - decay)
    book._ema_w.mul_(decay).add_(members.t() @ flat, alpha=1 - decay)
    total = book._ema_cluster_size.sum()
    # Laplace smoothing: a code with hardly any members must not divide by zero.
    size = (book._ema_cluster_size + epsilon) / (total + len(members[0]) * epsilon) * total
    book.vectors.copy_(book._ema_w / size[:, None])


def revive_dead_codes(book: Codebook, flat: Tensor, share: float, rng: torch.Generator) -> int:
    """Move codes used less than ``share`` of an even use onto random latents; how many."""
    size = book._ema_cluster_size
    even = size.sum() / len(size)
    dead = (size < share * even).nonzero().flatten()
    if len(dead):
        chosen = flat[torch.randint(len(flat), (len(dead),), generator=rng)]
        book.vectors[dead] = chosen
        # A quarter of an even share lets the newcomer live long enough to prove itself.
        size[dead] = 0.25 * even
        book._ema_w[dead] = chosen * size[dead][:, None]
    return len(dead)


def start_codebook(book: Codebook, flat: Tensor, rng: torch.Generator, rounds: int = 12) -> None:
    """k-means of latents [N, code_size] as the first code vectors, in place."""
    count = book.vectors.shape[0]
    book.vectors.copy_(flat[torch.randperm(len(flat), generator=rng)[:count]])
    for _ in range(rounds):
        codes = torch.cdist(flat, book.vectors).argmin(1)
        members = functional.one_hot(codes, count).to(flat.dtype)
        size = members.sum(0)
        means = members.t() @ flat / size.clamp(min=1)[:, None]
        refill = flat[torch.randint(len(flat), (count,), generator=rng)]
        book.vectors.copy_(torch.where(size[:, None] > 0, means, refill))
    book._ema_cluster_size.fill_(1.0)
    book._ema_w.copy_(book.vectors)
