"""Train the depth VQ-VAE on depth pictures: a loop of our own for a CPU and an hour.

Loss: mean squared error divided by the pictures' variance, plus 0.25 of the commitment term
(van den Oord et al. 2017); the codebook follows by moving averages (decay 0.99), and codes
nobody uses are moved onto latents of the batch. An extra term on neighbouring-pixel
differences keeps small objects from being averaged away. The first minutes train a plain
autoencoder, then k-means of its latents starts the codebook: starting from random vectors
leaves most of the 128 codes unused.

``python -m molmoact_ros.train.vqvae --data maps.npz --minutes 50 --out run/`` (resumes)
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molmoact_ros.model.depth_vqvae import DepthVqVae, VqVaeShape
from molmoact_ros.model.depth_weights import save_depth_vqvae
from molmoact_ros.train.codebook import revive_dead_codes, start_codebook, update_codebook
from molmoact_ros.train.depth_maps import load_pictures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VqVaeRecipe:
    """Numbers of one training run; defaults are the paper's where it gives one."""

    minutes: float = 50.0
    batch: int = 64
    learning_rate: float = 1e-3
    commitment: float = 0.25
    decay: float = 0.99
    edges: float = 2.0
    warm_up_share: float = 0.08
    revive_every: int = 20
    revive_until: float = 0.75
    dead_below: float = 0.05
    save_every_seconds: float = 120.0
    seed: int = 0


class VqVaeTrainer:
    """State of a run: network, optimiser, time spent. ``run`` until the budget is used."""

    def __init__(
        self,
        pictures: NDArray[np.uint8],
        recipe: VqVaeRecipe,
        out: Path,
        shape: VqVaeShape | None = None,
        device: str = "cpu",
    ) -> None:
        self._pictures, self._recipe, self._out = torch.from_numpy(pictures), recipe, out
        self._device = torch.device(device)
        self._rng = torch.Generator().manual_seed(recipe.seed)
        torch.manual_seed(recipe.seed)
        # bfloat16 convolutions on a CPU are fifteen times slower in the default memory order.
        network = DepthVqVae(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: DepthVqVae = network.to(self._device)
        self._optimiser = torch.optim.Adam(self.network.parameters(), recipe.learning_rate)
        self._variance = float((pictures[::8, ::4, ::4] / 255.0).var())
        self.step, self.spent, self.quantising = 0, 0.0, False

    def run(self) -> None:
        """Train until ``minutes`` are spent, saving and logging on the way."""
        budget = self._recipe.minutes * 60
        saved, before = self.spent, time.monotonic()
        while self.spent < budget:
            if not self.quantising and self.spent > self._recipe.warm_up_share * budget:
                self.start_quantising()
            report = self.train_step()
            now = time.monotonic()
            self.spent, before = self.spent + now - before, now
            if self.step % 20 == 0:
                left = (budget - self.spent) / 60
                logger.info("step %d, %.1f min left: %s", self.step, left, report)
            if self.spent - saved > self._recipe.save_every_seconds:
                saved = self.spent
                self.save()
        self.save()

    def train_step(self) -> str:
        """One batch; returns the losses as text."""
        recipe = self._recipe
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.learning_rate * self._rate()
        pictures = self._batch(recipe.batch)
        with torch.autocast(self._device.type, torch.bfloat16):
            latents = self.network.latents(pictures)
            fed, note = latents, "autoencoder"
            commitment = torch.zeros((), device=self._device)
            if self.quantising:
                codes, vectors, note = self._quantise(latents.detach().float())
                commitment = functional.mse_loss(latents.float(), vectors)
                fed = latents + (vectors - latents).detach()
            decoded = self.network.decoder(fed).float()
        error = functional.mse_loss(decoded, pictures)
        loss = error / self._variance + recipe.commitment * commitment
        loss = loss + recipe.edges * _edge_error(decoded, pictures)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        return f"mse {error.item():.5f} commitment {commitment.item():.4f} {note}"

    def save(self) -> None:
        """Checkpoint for resuming, and the weights as others load them."""
        self._out.mkdir(parents=True, exist_ok=True)
        scratch = self._out / "checkpoint.part"
        torch.save(
            {
                "weights": self.network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "step": self.step,
                "spent": self.spent,
                "quantising": self.quantising,
            },
            scratch,
        )
        scratch.replace(self._out / "checkpoint.pt")
        notes = {
            "made_by": "molmoact_ros.train.vqvae",
            "data": f"{len(self._pictures)} depth maps",
            "steps": str(self.step),
            "minutes": f"{self.spent / 60:.1f}",
        }
        save_depth_vqvae(self.network, self._out / "depth_vqvae.safetensors", notes)

    def resume(self) -> None:
        """Continue from this folder's checkpoint; nothing happens when there is none."""
        path = self._out / "checkpoint.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["weights"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.spent = state["step"], state["spent"]
        self.quantising = state["quantising"]
        logger.info("resumed at step %d, %.1f min", self.step, self.spent / 60)

    def _rate(self) -> float:
        done = min(self.spent / (self._recipe.minutes * 60), 1.0)
        return min(1.0, (self.step + 1) / 50) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done)))

    def _batch(self, size: int) -> Tensor:
        index = torch.randint(len(self._pictures), (size,), generator=self._rng)
        pictures = self._pictures[index][:, None].float() / 255.0
        return pictures.contiguous(memory_format=torch.channels_last).to(self._device)

    @torch.no_grad()
    def _quantise(self, latents: Tensor) -> tuple[Tensor, Tensor, str]:
        recipe, book = self._recipe, self.network.codebook
        codes = book.nearest(latents)
        vectors = book.lookup(codes)
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        update_codebook(book, flat, codes.flatten(), recipe.decay)
        young = self.spent < recipe.revive_until * recipe.minutes * 60
        if young and self.step % recipe.revive_every == 0:
            revive_dead_codes(book, flat, recipe.dead_below, self._rng)
        return codes, vectors, f"codes in batch {len(codes.unique())}"

    @torch.no_grad()
    def start_quantising(self) -> None:
        """End of the warm-up: from here on the decoder sees code vectors."""
        batches = [self.network.latents(self._batch(32)) for _ in range(8)]
        flat = torch.cat([z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]) for z in batches])
        start_codebook(self.network.codebook, flat, self._rng)
        self.quantising = True


def _edge_error(decoded: Tensor, pictures: Tensor) -> Tensor:
    across = (decoded.diff(dim=3) - pictures.diff(dim=3)).abs().mean()
    return across + (decoded.diff(dim=2) - pictures.diff(dim=2)).abs().mean()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the depth VQ-VAE.")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    pictures = np.concatenate([load_pictures(path) for path in arguments.data])
    recipe = VqVaeRecipe(minutes=arguments.minutes, batch=arguments.batch)
    trainer = VqVaeTrainer(pictures, recipe, arguments.out, device=arguments.device)
    trainer.resume()
    trainer.run()


if __name__ == "__main__":
    main()
