"""Looking at episodes that are not trained on: losses by span, and whole answers decoded.

Everything is asked as the robot asks it: pictures at the card's size, their centre only.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributed.fsdp import FSDPModule

from molmoact_ros.data.dataset import DataSet, Tick
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.train.batches import collate
from molmoact_ros.train.decoding import Decoder, as_driven, look_kind, same_tokens
from molmoact_ros.train.loss import Learner
from molmoact_ros.train.processes import World
from molmoact_ros.train.recipe import Recipe
from molmoact_ros.train.samples import asked, tokenised
from molmoact_ros.train.scores import decoded_metrics
from molmoact_ros.train.stream import Source, Visits

SPANS = ("depth", "trace", "action", "words")


@dataclass(frozen=True, eq=False)
class Spans:
    """Which span a token of an answer belongs to, by token id; trace and action share none."""

    table: NDArray[np.int8]

    @staticmethod
    def of(tokenizer: MolmoActTokenizer) -> Spans:
        table = np.full(tokenizer.vocab_size, SPANS.index("words"), dtype=np.int8)
        start = tokenizer.ids.depth_code
        table[start : start + 128] = SPANS.index("depth")
        for index, text in enumerate(tokenizer.token_bytes()):
            if text and re.fullmatch(rb"[0-9]+", text):
                table[index] = SPANS.index("trace")
            elif text and any(byte >= 0x80 for byte in text):
                table[index] = SPANS.index("action")
        return Spans(table)


class Stopped(RuntimeError):
    """Somebody wants the run to end; a look is not worth waiting for."""


class HeldOut:
    """The held-out episodes of all data sets of a run. Sharded networks are looked at by all
    processes together, which decode the same answers; else the first process looks alone.
    """

    def __init__(self, source: Source, learner: Learner, world: World) -> None:
        self._source, self._learner, self._world = source, learner, world
        self._together = isinstance(learner, FSDPModule)

    def look(self, stopping: Callable[[], bool]) -> dict[str, float]:
        """Numbers by name; empty when there is nothing to look at or this process does not look.

        Of several data sets: the mean over sets, and NAME@FOLDER of each. Every process calls it.
        Raises Stopped when ``stopping`` says so on any process that looks.
        """
        if not (self._world.first or self._together):
            return {}
        was = self._learner.training
        self._learner.eval()
        try:
            with torch.no_grad():
                found = {name: self._of(d, stopping) for name, d in self._sets.items() if len(d)}
        finally:
            self._learner.train(was)
            if isinstance(self._learner, FSDPModule):
                # Nothing goes backward through a look, which would have done it.
                self._learner.reshard()
        if len(found) == 1:
            return next(iter(found.values()))
        names = dict.fromkeys(name for values in found.values() for name in values)
        out = {n: float(np.mean([v[n] for v in found.values() if n in v])) for n in names}
        each = {f"{n}@{name}": v for name, values in found.items() for n, v in values.items()}
        return out | each

    def _of(self, data: DataSet, stopping: Callable[[], bool]) -> dict[str, float]:
        recipe, learner, reading = self._source.recipe, self._learner, self._reading
        anywhere = self._world.any if self._together else bool

        def ticks(count: int) -> Iterator[Tick]:
            for tick in spread_ticks(data, count):
                if anywhere(stopping()):
                    raise Stopped
                yield tick

        values = teacher_forced(learner, data, ticks(recipe.look_samples), reading, recipe)
        if not recipe.look_decoded:
            return values
        decoder = Decoder(learner.network, reading, data, recipe)
        shared = same_tokens(learner.network) if self._together else contextlib.nullcontext()
        with shared:
            return values | decoded_metrics(
                lambda tick: learner.whole(partial(decoder.answer, tick)),
                data,
                ticks(recipe.look_decoded),
            )

    @cached_property
    def _sets(self) -> dict[str, DataSet]:
        folders = self._source.folders
        unlike = len({folder.name for folder in folders}) == len(folders)
        return {
            folder.name if unlike else f"{folder.name}_{number}": DataSet(folder, "held_out")
            for number, folder in enumerate(folders, 1)
        }

    @cached_property
    def _reading(self) -> tuple[MolmoActTokenizer, ImageProcessor]:
        return Visits(self._source).reading


def spread_ticks(data: DataSet, count: int) -> Iterator[Tick]:
    """``count`` ticks spread evenly over the held-out episodes, as driven."""
    numbers = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).astype(int))
    for number in numbers:
        yield as_driven(data.tick(int(number)), data.card)


def teacher_forced(
    learner: Learner,
    data: DataSet,
    ticks: Iterator[Tick],
    reading: tuple[MolmoActTokenizer, ImageProcessor],
    recipe: Recipe,
) -> dict[str, float]:
    """Loss and token accuracy by span, with every token before it true. Every process that holds a
    part of the network calls it, without gradients.
    """
    spans = Spans.of(reading[0]).table
    losses, hits = np.zeros(len(SPANS)), np.zeros(len(SPANS))
    counts = np.zeros(len(SPANS))
    device = next(learner.parameters()).device
    while chosen := list(islice(ticks, recipe.micro)):
        samples = [
            tokenised(asked(tick, data.card, look_kind(tick, recipe)), *reading, recipe.limit)
            for tick in chosen
        ]
        batch = collate(samples).to(device)
        logits, targets = learner.whole(partial(learner.logits, batch))
        entropy = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        place = spans[targets.cpu().numpy()]
        right = (logits.argmax(-1) == targets).cpu().numpy()
        np.add.at(losses, place, entropy.cpu().numpy())
        np.add.at(hits, place, right)
        np.add.at(counts, place, 1)
    out = {"loss": float(losses.sum() / max(counts.sum(), 1))}
    for i, name in enumerate(SPANS):
        if counts[i]:
            out[f"loss_{name}"] = float(losses[i] / counts[i])
            out[f"accuracy_{name}"] = float(hits[i] / counts[i])
    return out
