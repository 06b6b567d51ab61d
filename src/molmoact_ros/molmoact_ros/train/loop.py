"""The training loop: the same on one CPU process, one GPU, or many machines.

One step: every process reads its part of the global batch, losses are divided by the number of
learned tokens of the WHOLE batch, gradients add up. So the result does not depend on how many
processes there are. SIGTERM saves and ends; starting again continues.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from molmoact_ros.train.batches import Batch
from molmoact_ros.train.checkpoints import load_state, newest, save_state
from molmoact_ros.train.heldout import HeldOut, Stopped
from molmoact_ros.train.identity import identity_of
from molmoact_ros.train.loading import load_network, settle
from molmoact_ros.train.loss import Learner, recompute_blocks
from molmoact_ros.train.optimiser import clip_groups, make_optimisers, rate_share, set_rates
from molmoact_ros.train.packed_attention import packed_hidden, quick_vision
from molmoact_ros.train.processes import World, spread, sum_gradients
from molmoact_ros.train.stop_signals import StopSignals
from molmoact_ros.train.stream import Source, Visits, batches
from molmoact_ros.train.targets import BinTargets, bin_tokens, number_tokens
from molmoact_ros.train.tracker import Tracker

log = logging.getLogger(__name__)


class Watch(Protocol):
    """Who wants to know how it goes, and may end it (a node, a test)."""

    def step(self, step: int, values: Mapping[str, float], /) -> bool:
        """After every report; False saves and ends the run."""
        ...


@dataclass(frozen=True)
class Outcome:
    """steps that are done; finished: all of them; losses by step of this run."""

    steps: int
    finished: bool
    losses: tuple[float, ...]
    checkpoint: Path


class Trainer:
    """One process of one run. Raises BadRecipe, BadData, CheckpointError before it starts."""

    def __init__(self, source: Source, out: Path, world: World, watch: Watch | None = None) -> None:
        self.source, self.out, self.world = source, out, world
        self.recipe = recipe = source.recipe
        self._watch, self._signals = watch, StopSignals()
        self._cuda = world.device.type == "cuda"
        self._fused = recipe.mode == "replicate" or self._cuda
        self.network = load_network(source.base, recipe, world)
        self.learner = Learner(
            self.network,
            recipe.z_loss,
            recipe.prompt_dropout,
            self._bins(),
            recipe.sight,
            recipe.aim,
        )
        if recipe.method == "full" and not self._cuda:
            quick_vision(self.network)
        if recipe.recompute:
            recompute_blocks(self.network)
        self._by_hand = spread(self.learner, world, recipe.mode)
        settle(self.learner, recipe, world)
        self._held_out = HeldOut(source, self.learner, world)
        self.optimisers = make_optimisers(self.learner, recipe, fused=self._fused)
        self.first_step, self._data = 0, identity_of(source)
        found = newest(out)
        if found is not None:
            self.first_step = load_state(
                found, self.learner, self.optimisers, recipe, world, self._data
            )
            log.info("continuing at step %d", self.first_step)
        if recipe.compile:
            self.network.model.transformer.compile(dynamic=True)
            self.learner.hidden_of_packs = torch.compile(packed_hidden, dynamic=True)

    def run(self) -> Outcome:
        """Train until the recipe's steps are done, or until told to stop."""
        recipe, world = self.recipe, self.world
        tracker = Tracker(self.out, recipe.steps, self.first_step, world.first)
        losses: list[float] = []
        step = saved = self.first_step
        since, samples, tokens = time.monotonic(), 0, 0.0
        self.learner.train()
        with self._signals:
            for micros in batches(self.source, self.first_step, world.rank, world.size):
                values = self._step(step, micros)
                losses.append(values["loss"])
                step += 1
                samples, tokens = samples + recipe.batch, tokens + values["tokens"]
                going = True
                if step % recipe.log_every == 0 or step == recipe.steps:
                    spent = time.monotonic() - since
                    values |= {"samples_s": samples / spent, "tokens_s": tokens / spent}
                    values |= self._memory()
                    tracker.report(step, values)
                    since, samples, tokens = time.monotonic(), 0, 0.0
                    going = self._watch is None or self._watch.step(step, values)
                last = step == recipe.steps
                stopping = world.any(self._signals.asked or not going)
                if not stopping and recipe.look_every and (last or step % recipe.look_every == 0):
                    self._look(step, tracker)
                    since, samples, tokens = time.monotonic(), 0, 0.0
                    stopping = world.any(self._signals.asked)
                if step % recipe.save_every == 0 or last or stopping:
                    save_state(
                        self.out, self.learner, self.optimisers, step, recipe, world, self._data
                    )
                    saved = step
                if stopping:
                    break
        tracker.close()
        name = f"step-{saved:08d}"
        return Outcome(step, step >= recipe.steps, tuple(losses), self.out / name)

    def _step(self, step: int, micros: list[Batch]) -> dict[str, float]:
        recipe, world = self.recipe, self.world
        torch.manual_seed(recipe.seed + 1_000_003 * step + world.rank)
        count = world.summed(float(sum(batch.learned for batch in micros)))
        share = rate_share(step, recipe)
        set_rates(self.optimisers, share)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss = 0.0
        for batch in micros:
            with self._precision():
                trained, entropy = self.learner(batch.to(world.device), step < recipe.sight_steps)
            (trained / count).backward()
            loss += float(entropy)
        sum_gradients(self._by_hand, world)
        norms = clip_groups(self.optimisers, recipe.clip)
        for optimiser in self.optimisers:
            optimiser.step()
        loss = world.summed(loss) / count
        if not loss < float("inf"):
            raise FloatingPointError(
                f"the loss of step {step} is {loss}; lower the learning rate, or look for a bad "
                "episode with molmoact check"
            )
        return {
            "loss": loss, "tokens": count, "rate": share,
            **{f"norm_{name}": norm for name, norm in norms.items()},
            **self.learner.side_losses,
        }  # fmt: skip

    def _look(self, step: int, tracker: Tracker) -> None:
        """Held-out numbers; none when a signal came meanwhile: saving is more urgent."""
        with self._precision(), contextlib.suppress(Stopped):
            if values := self._held_out.look(lambda: self._signals.asked):
                tracker.report(step, values, "look")

    def _bins(self) -> BinTargets | None:
        if self.recipe.bin_sigma <= 0.0:
            return None
        tokenizer = Visits(self.source).reading[0]
        bins = BinTargets.make(bin_tokens(tokenizer), self.recipe.bin_sigma)
        if self.recipe.trace_sigma <= 0.0:
            return bins
        numbers = number_tokens(tokenizer)
        return bins.and_also(BinTargets.make(numbers, self.recipe.trace_sigma))

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self.recipe.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(self.world.device.type, torch.bfloat16)

    def _memory(self) -> dict[str, float]:
        if not self._cuda:
            return {}
        return {"peak_gib": torch.cuda.max_memory_allocated() / 2**30}
