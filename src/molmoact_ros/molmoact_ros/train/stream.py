"""Batches of a run in order, made by worker processes ahead of time.

Workers open the data set themselves (spawned, not forked: the picture code keeps threads).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from molmoact_ros.data.dataset import DataSet, Tick
from molmoact_ros.data.rows import BadData
from molmoact_ros.model.config import load_config, read_json
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import settings_from_dict
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.train.aims import aims_of
from molmoact_ros.train.augment import jittered
from molmoact_ros.train.batches import Batch, collate
from molmoact_ros.train.order import Order, share
from molmoact_ros.train.packing import Packed, packed
from molmoact_ros.train.recipe import Recipe
from molmoact_ros.train.samples import (
    Asked,
    Sample,
    TooLong,
    asked,
    draw_kind,
    shortened,
    tokenised,
    varied,
)
from molmoact_ros.train.strokes import ending_at_the_thing
from molmoact_ros.train.targets import bin_tokens, misheard
from molmoact_ros.train.web import WebData

PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Source:
    """folders: labelled data sets; base: checkpoint whose tokenizer and picture settings are used.

    web: folder of ordinary pictures with questions and answers, or None.
    """

    folders: tuple[Path, ...]
    base: Path
    recipe: Recipe
    split: str = "train"
    web: Path | None = None
    weights: tuple[float, ...] | None = None


class Visits(Dataset[Sample | Packed]):
    """Position to sample. Cheap to send to another process: everything opens on first use."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, position: int) -> Sample | Packed:
        recipe = self.source.recipe
        rng = self.order.generator(position)
        number, item = self.order.at(position)
        tokenizer, processor = self.reading
        chance = recipe.web / sum(recipe.shares.values())
        if self.web is not None and rng.random() < chance:
            made = self.web.asked(int(rng.integers(len(self.web))))
            return tokenised(made, tokenizer, processor, recipe.limit)
        data = self.sets[number]
        if recipe.pack > 1:
            return self._frame(data, item, position, rng)
        tick = data.tick(item)
        made = varied(tick, data.card, recipe, rng, draw_kind(tick, recipe, rng))
        sample = tokenised(made, tokenizer, processor, recipe.limit)
        return replace(sample, landmarks=self._landmarks(tick))

    def _frame(self, data: DataSet, item: int, position: int, rng: np.random.Generator) -> Packed:
        """A visit to a frame. A whole batch is of one kind: packs of one shape waste nothing."""
        recipe = self.source.recipe
        same = [int(number) for number in data.frames[item]]
        tick = data.tick(int(rng.choice(same)))
        together = np.random.default_rng([recipe.data_seed, 2, position // recipe.batch])
        kind, whole = draw_kind(tick, recipe, together), together.random() < recipe.whole
        ticks = [tick]
        if kind in ("reason", "act"):
            chosen = rng.permutation(same)[: recipe.pack].tolist()
            ticks = [data.again(number, tick.pictures) for number in chosen]
            ticks = [one for one in ticks if one.trace is not None or kind == "act"]
        aims = None
        if recipe.aim > 0.0 and ticks:
            aims = np.stack([aims_of(one, told=kind != "steer") for one in ticks])
        if kind == "steer" and recipe.cut > 0.0 and rng.random() < recipe.cut:
            ticks = [ending_at_the_thing(tick)]
        if kind == "steer" and rng.random() < recipe.mismatch:
            # Where the drawn path and the words disagree, the path counts.
            words = data.again(int(rng.choice(same)), tick.pictures).instruction
            ticks = [replace(one, instruction=words) for one in ticks]
        if not ticks:
            raise TooLong(f"frame {item} has no trace at all; make the data again")
        made = [asked(one, data.card, kind) for one in ticks]
        longer = [one.answer for one in made]
        if kind == "reason":
            # The same depth again is nothing to learn from.
            bare = [asked(replace(one, depth=None), data.card, kind) for one in ticks]
            made = [*made[:whole], *bare[whole:]]
        if recipe.jitter:
            seen = tuple(jittered(p, rng) for p in made[0].pictures)
            made = [replace(made[0], pictures=seen), *made[1:]]
        if not whole:
            made = [shortened(one, recipe.rows) for one in made]
            longer = [shortened(Asked(kind, (), "", text), recipe.rows).answer for text in longer]
        pack = packed(made, longer, *self.reading, recipe.limit)
        if recipe.bin_noise > 0.0:
            heard = misheard(pack.ids, pack.learned, self.bins, recipe.bin_noise, rng)
            pack = replace(pack, heard=heard)
        return replace(pack, landmarks=self._landmarks(tick), aims=aims)

    def _landmarks(self, tick: Tick) -> NDArray[np.float32] | None:
        # A random crop would move them.
        recipe = self.source.recipe
        return tick.landmarks if recipe.sight > 0.0 and recipe.crop == 1.0 else None

    @cached_property
    def sets(self) -> list[DataSet]:
        sets = [DataSet(folder, self.source.split) for folder in self.source.folders]
        if empty := [str(data.folder) for data in sets if not len(data)]:
            raise BadData(
                f"{', '.join(empty)}: no tick to train on (split {self.source.split!r}); leave the "
                "data set out, or label more episodes"
            )
        return sets

    @cached_property
    def bins(self) -> list[int]:
        return bin_tokens(self.reading[0])

    @cached_property
    def web(self) -> WebData | None:
        return WebData(self.source.web) if self.source.web else None

    @cached_property
    def order(self) -> Order:
        packs = self.source.recipe.pack > 1
        sizes = [len(data.frames) if packs else len(data) for data in self.sets]
        return Order(sizes, self.source.recipe.data_seed, self.source.weights)

    @cached_property
    def reading(self) -> tuple[MolmoActTokenizer, ImageProcessor]:
        base = self.source.base
        config = load_config(base)
        tokenizer = MolmoActTokenizer.load(base, config.llm.vocab_size)
        path = base / PREPROCESSOR
        settings = settings_from_dict(read_json(path), config.vit, str(path))
        return tokenizer, ImageProcessor(settings)


class _Micro:
    """Batch sampler: positions of this process, step after step, in pieces of ``micro``."""

    def __init__(self, recipe: Recipe, first_step: int, rank: int, world: int) -> None:
        self._recipe, self._first, self._rank, self._world = recipe, first_step, rank, world

    def __iter__(self) -> Iterator[Sequence[int]]:
        for step in range(self._first, self._recipe.steps):
            positions = share(step, self._recipe.batch, self._rank, self._world)
            for start in range(0, len(positions), self._recipe.micro):
                yield positions[start : start + self._recipe.micro]

    def __len__(self) -> int:
        mine = self._recipe.batch // self._world
        return (self._recipe.steps - self._first) * -(-mine // self._recipe.micro)


def _deaf(_number: int) -> None:
    """A scheduler, torchrun and Ctrl-C send their signal to whole groups of processes. The one that
    trains saves first; these end with it.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def batches(
    source: Source, first_step: int, rank: int = 0, world: int = 1
) -> Iterator[list[Batch]]:
    """The micro-batches of one step of this process, step after step."""
    recipe = source.recipe
    pieces = -(-(recipe.batch // world) // recipe.micro)
    loader: DataLoader[Sample | Packed] = DataLoader(
        Visits(source),
        batch_sampler=_Micro(recipe, first_step, rank, world),  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=recipe.workers,
        multiprocessing_context="spawn" if recipe.workers else None,
        worker_init_fn=_deaf,
        persistent_workers=bool(recipe.workers),
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if recipe.workers else None,
    )
    step: list[Batch] = []
    for batch in loader:
        step.append(batch)
        if len(step) == pieces:
            yield step
            step = []
