"""A run of the depth VQ-VAE: order of maps, budget, saved states, log, and the card at the end.

A run's folder holds ``checkpoint.pt``, ``metrics.jsonl``, ``tensorboard/``, and as others load them
``depth_vqvae.safetensors`` with its card ``README.md``. Starting again continues at the very next
map, also with another number of processes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from molmoact_ros.model.depth_vqvae import VqVaeShape
from molmoact_ros.model.depth_weights import save_depth_vqvae
from molmoact_ros.train.codebook import start_codebook
from molmoact_ros.train.depth_shards import DepthMaps
from molmoact_ros.train.map_batches import map_batches
from molmoact_ros.train.order import Order
from molmoact_ros.train.processes import World
from molmoact_ros.train.recipe import BadRecipe
from molmoact_ros.train.stop_signals import StopSignals
from molmoact_ros.train.tracker import Tracker
from molmoact_ros.train.vqvae import VqVaeLearner, finite, variance_of
from molmoact_ros.train.vqvae_card import write_card
from molmoact_ros.train.vqvae_recipe import VqVaeRecipe

CHECKPOINT, WEIGHTS = "checkpoint.pt", "depth_vqvae.safetensors"
LOG_EVERY, SAVE_SECONDS = 20, 120.0
LOOKED_AT = 64
STARTED_FROM = 256
"""Maps whose latents start the codebook."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """steps that are done, whether all of them, the loss of every step of this call, and the
    perplexity on held-out maps (0 before the codebook has started; known to the first process).
    """

    steps: int
    finished: bool
    losses: tuple[float, ...]
    perplexity: float


class VqVaeRun:
    """One process of a run. Raises BadData, BadRecipe; FloatingPointError while it runs."""

    def __init__(
        self,
        folders: Sequence[Path],
        recipe: VqVaeRecipe,
        out: Path,
        world: World,
        shape: VqVaeShape | None = None,
        threads: int = 2,
    ) -> None:
        self._folders, self._recipe, self._out, self._world = folders, recipe, out, world
        self._threads = threads
        self._maps, self._held_out = DepthMaps(folders, "train"), DepthMaps(folders, "held_out")
        sample = np.stack([self._maps[i] for i in self._maps.spread(STARTED_FROM)])
        self.learner = VqVaeLearner(recipe, world, variance_of(sample), shape)
        self._looked_at = np.stack([self._held_out[i] for i in self._held_out.spread(LOOKED_AT)])
        self._steps = 0 if recipe.minutes else recipe.steps(len(self._maps))
        self.step, self._spent, self._perplexity = 0, 0.0, 0.0
        self._resume()

    def run(self, after: Callable[[int], None] = lambda step: None) -> Ended:
        """Train until the budget is spent or a signal comes; ``after`` is called every step."""
        recipe, world = self._recipe, self._world
        tracker = _Tracker(self._out, self._steps, self.step, world.first)
        batches = map_batches(
            self._maps, recipe.seed, self.step, recipe.batch, world, self._threads
        )
        losses: list[Tensor] = []
        since = saved = time.monotonic()
        before, first = self._spent, self.step
        try:
            with StopSignals() as signals:
                while True:
                    self._spent = before + time.monotonic() - since
                    # One message: who was told to stop, and the mean of all clocks.
                    done, stop = self._agreed(signals.asked)
                    if stop or done >= 1.0:
                        break
                    if not self.learner.quantising and done >= recipe.warm_up:
                        self._start_quantising()
                    values = self.learner.step(self.step, next(batches), done)
                    losses.append(values["loss"])
                    self.step += 1
                    if self.step % LOG_EVERY == 0:
                        self._report(tracker, values, self.step - first, since, done)
                    if world.first and time.monotonic() - saved > SAVE_SECONDS:
                        self._save(tracker)
                        saved = time.monotonic()
                    after(self.step)
        finally:
            batches.close()
        if world.first:
            self._save(tracker)
        world.wait()
        tracker.close()
        return Ended(self.step, not stop, self._shared(losses), self._perplexity)

    def _agreed(self, asked: bool) -> tuple[float, bool]:
        budget = self._recipe.minutes * 60.0
        done = self._spent / budget if budget else self.step / self._steps
        if self._world.size == 1:
            return min(done, 1.0), asked
        both = torch.tensor([done, float(asked)], dtype=torch.float64, device=self._world.device)
        dist.all_reduce(both)
        return min(float(both[0]) / self._world.size, 1.0), bool(both[1] > 0)

    def _shared(self, losses: Sequence[Tensor]) -> tuple[float, ...]:
        """Means over the processes."""
        if not losses:
            return ()
        whole = torch.stack(list(losses)).double()
        if self._world.size > 1:
            dist.all_reduce(whole)
        return tuple((whole / self._world.size).tolist())

    def _report(
        self, tracker: _Tracker, values: dict[str, Tensor], steps: int, since: float, done: float
    ) -> None:
        world, learner = self._world, self.learner
        told = {k: world.summed(float(v)) / world.size for k, v in values.items()}
        finite(told, self.step)
        told |= learner.use()
        told["rate"] = learner.optimiser.param_groups[0]["lr"]
        told["maps_s"] = steps * self._recipe.batch / (time.monotonic() - since)
        if self._recipe.minutes:
            tracker.expect(round(self.step / max(done, 1e-6)))
        tracker.report(self.step, told)

    @torch.no_grad()
    def _start_quantising(self) -> None:
        """From here on the decoder sees code vectors; the first process says which."""
        learner, recipe = self.learner, self._recipe
        order = Order([len(self._maps)], recipe.seed + 1)
        count = min(STARTED_FROM, len(self._maps))
        latents = []
        for start in range(0, count, 32):
            some = [self._maps[order.at(i)[1]] for i in range(start, min(start + 32, count))]
            latents.append(learner.network.latents(learner.on_device(np.stack(some))))
        flat = torch.cat([z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]) for z in latents])
        book = learner.network.codebook
        start_codebook(book, flat, torch.Generator().manual_seed(recipe.seed))
        if self._world.size > 1:
            for buffer in book.buffers():
                dist.broadcast(buffer, 0)
        learner.quantising = True

    def _save(self, tracker: Tracker) -> None:
        """For going on; a look at held-out maps, and the weights as others load them."""
        learner = self.learner
        scratch = self._out / f"{CHECKPOINT}.part"
        torch.save(
            {
                "weights": learner.network.state_dict(),
                "optimiser": learner.optimiser.state_dict(),
                "step": self.step,
                "spent": self._spent,
                "quantising": learner.quantising,
                "recipe": self._recipe.fixed,
                "maps": self._maps.fingerprint,
            },
            scratch,
        )
        scratch.replace(self._out / CHECKPOINT)
        if not learner.quantising:
            return
        told = learner.held_out(self._looked_at)
        tracker.report(self.step, told, "look")
        self._perplexity = told["perplexity"]
        notes = {
            "made_by": "molmoact vqvae train",
            "data": f"{len(self._maps)} depth maps ({self._maps.fingerprint})",
            "steps": str(self.step),
            "minutes": f"{self._spent / 60:.1f}",
            "file": WEIGHTS,
        }
        save_depth_vqvae(learner.network, self._out / WEIGHTS, notes)
        write_card(
            self._out / "README.md", self._folders, len(self._maps), self._recipe, notes, told
        )

    def _resume(self) -> None:
        path = self._out / CHECKPOINT
        if not path.is_file():
            self._out.mkdir(parents=True, exist_ok=True)
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        now = self._recipe.fixed
        other = [
            f"{k} {v}, now {now.get(k)}" for k, v in state["recipe"].items() if v != now.get(k)
        ]
        if state["maps"] != self._maps.fingerprint:
            other.append(f"other depth maps ({state['maps']}, now {self._maps.fingerprint})")
        if other:
            raise BadRecipe(
                f"{path} was trained with {'; '.join(other)}; keep them to continue, or choose "
                "another --out"
            )
        self.learner.network.load_state_dict(state["weights"])
        self.learner.optimiser.load_state_dict(state["optimiser"])
        self.learner.quantising = bool(state["quantising"])
        self.step, self._spent = int(state["step"]), float(state["spent"])
        log.info("continuing at step %d", self.step)


class _Tracker(Tracker):
    """Steps of a run by minutes are guessed from its speed."""

    def expect(self, steps: int) -> None:
        self._steps = max(steps, 1)
