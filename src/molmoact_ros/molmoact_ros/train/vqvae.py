"""One step of training a depth VQ-VAE, the same in one process or many.

Loss: mean squared error plus the commitment term (van den Oord et al. 2017), and what
``VqVaeRecipe`` adds; the codebook follows by moving averages. Every process has its part of the
batch; gradients and the codebook's statistics are added up, so the result does not depend on how
many there are.
"""

from __future__ import annotations

import contextlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molmoact_ros.model.depth_vqvae import DepthVqVae, VqVaeShape
from molmoact_ros.train.codebook import revive_dead_codes, update_codebook, usage
from molmoact_ros.train.processes import World, sum_gradients
from molmoact_ros.train.vqvae_recipe import VqVaeRecipe

CLIP = 1.0
REVIVE_UNTIL, DEAD_BELOW = 0.75, 0.05


class VqVaeLearner:
    """Network and optimiser of a run. variance: of the pictures in 0..1, for ``scaled``."""

    def __init__(
        self,
        recipe: VqVaeRecipe,
        world: World,
        variance: float = 1.0,
        shape: VqVaeShape | None = None,
    ) -> None:
        self.recipe, self.world, self.variance = recipe, world, variance
        torch.manual_seed(recipe.seed)
        # bfloat16 convolutions on a CPU are fifteen times slower in the default memory order.
        network = DepthVqVae(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: DepthVqVae = network.to(world.device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), recipe.learning_rate)
        self.quantising = False

    def step(self, number: int, pictures: NDArray[np.uint8], done: float) -> dict[str, Tensor]:
        """One batch uint8 [N, 320, 320] of this process; its losses.

        number: of the step. done: share 0..1 of the budget that is spent.
        """
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate(number, done)
        wanted = self.on_device(pictures)
        with self.precision():
            latents = self.network.latents(wanted)
        fed, commitment = latents, torch.zeros((), device=wanted.device)
        if self.quantising:
            vectors = self._quantise(latents.detach().float(), number, done)
            commitment = functional.mse_loss(latents.float(), vectors)
            fed = latents + (vectors - latents).detach()
        with self.precision():
            decoded = self.network.decoder(fed).float()
        error = functional.mse_loss(decoded, wanted)
        loss = error / self.variance if recipe.scaled else error
        loss = loss + recipe.commitment * commitment
        if recipe.edges:
            loss = loss + recipe.edges * _edge_error(decoded, wanted)
        self.optimiser.zero_grad()
        (loss / self.world.size).backward()
        parameters = list(self.network.parameters())
        sum_gradients(parameters, self.world)
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        self.optimiser.step()
        return {"mse": error.detach(), "commitment": commitment.detach(), "loss": loss.detach()}

    def use(self) -> dict[str, float]:
        """Perplexity of the codebook's moving averages."""
        if not self.quantising:
            return {}
        size = self.network.codebook._ema_cluster_size.double().cpu().numpy()
        return {"perplexity": usage(size)[1]}

    @torch.no_grad()
    def held_out(self, pictures: NDArray[np.uint8]) -> dict[str, float]:
        """Error and use of codes on maps uint8 [N, 320, 320], in float32 as they will be used."""
        errors: list[float] = []
        counts = np.zeros(self.network.shape.codes)
        for start in range(0, len(pictures), 16):
            wanted = self.on_device(pictures[start : start + 16])
            codes = self.network.encode(wanted)
            decoded = self.network.decode(codes)
            errors += ((decoded - wanted) ** 2).mean(dim=(1, 2, 3)).tolist()
            counts += np.bincount(codes.flatten().cpu().numpy(), minlength=len(counts))
        used, perplexity = usage(counts)
        return {"mse": float(np.mean(errors)), "codes_used": float(used), "perplexity": perplexity}

    def on_device(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Float [N, 1, 320, 320] in 0..1 of uint8 [N, 320, 320]."""
        raw = torch.from_numpy(pictures).to(self.world.device)
        return (raw[:, None].float() / 255.0).contiguous(memory_format=torch.channels_last)

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """For the convolutions; distances to codes are always in float32."""
        kind, cuda = self.recipe.precision, self.world.device.type == "cuda"
        if kind == "bf16" or (kind == "auto" and cuda):
            return torch.autocast(self.world.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    @torch.no_grad()
    def _quantise(self, latents: Tensor, number: int, done: float) -> Tensor:
        recipe, book = self.recipe, self.network.codebook
        codes = book.nearest(latents)
        vectors = book.lookup(codes)
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        update_codebook(book, flat, codes.flatten(), recipe.decay, world=self.world)
        if recipe.revive_every and done < REVIVE_UNTIL and number % recipe.revive_every == 0:
            rng = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number)
            revive_dead_codes(book, flat, DEAD_BELOW, rng, self.world)
        return vectors


def variance_of(pictures: NDArray[np.uint8]) -> float:
    """Of pictures uint8 [N, 320, 320] divided by 255; never zero."""
    return max(float((pictures[:, ::4, ::4] / 255.0).var()), 1e-6)


def _edge_error(decoded: Tensor, pictures: Tensor) -> Tensor:
    across = (decoded.diff(dim=3) - pictures.diff(dim=3)).abs().mean()
    return across + (decoded.diff(dim=2) - pictures.diff(dim=2)).abs().mean()


def finite(values: dict[str, float], step: int) -> dict[str, float]:
    """``values``, or FloatingPointError naming the step."""
    if not all(math.isfinite(value) for value in values.values()):
        raise FloatingPointError(f"step {step}: {values}; lower --lr or use --precision float32")
    return values
