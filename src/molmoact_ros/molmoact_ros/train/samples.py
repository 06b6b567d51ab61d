"""One visit to one tick: question, pictures and answer as the network reads them.

The question, its pictures and the answer's wording are made by the same functions that the robot
uses (``reasoning``, ``model.prompt``), so training and driving cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.dataset import Tick
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.prompt import prompt_ids
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.policy.view import shrunk
from molmoact_ros.reasoning.answer import compose_answer
from molmoact_ros.reasoning.depth_text import depth_to_text
from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.reasoning.prompts import chat_text, check_instruction, question
from molmoact_ros.reasoning.trace_text import trace_to_text
from molmoact_ros.train.augment import cropped, jittered, moved_trace, random_crop
from molmoact_ros.train.recipe import Recipe

KINDS = ("reason", "steer", "act", "depth", "trace")
_FIRST = {True: "the first image", False: "this image"}


class TooLong(ValueError):
    """A sample whose answer does not fit the sequence limit."""


@dataclass(frozen=True, eq=False)
class Sample:
    """ids int32 [S]: BOS, pictures, question, answer, EOS; the answer starts at ``answer``.

    crops float32 [C, patches, values] without duplicates; pooled int32 [tokens, 4]. landmarks:
    where things are in the pictures (``data.landmarks``), where that is known.
    """

    ids: NDArray[np.int32]
    answer: int
    crops: NDArray[np.float32]
    pooled: NDArray[np.int32]
    kind: str
    landmarks: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """A visit in words and pictures, before tokens. ends: the answer is complete."""

    kind: str
    pictures: tuple[NDArray[np.uint8], ...]
    question: str
    answer: str
    ends: bool = True


def draw_kind(tick: Tick, recipe: Recipe, rng: np.random.Generator) -> str:
    """A kind for this visit, among those that the tick's labels allow."""
    shares = {kind: recipe.shares[kind] for kind in KINDS}
    if tick.trace is None:
        shares |= {"reason": 0.0, "steer": 0.0, "trace": 0.0}
    if tick.depth is None:
        shares |= {"depth": 0.0}
    total = sum(shares.values())
    if total <= 0.0:
        return "act"
    return str(rng.choice(KINDS, p=[shares[kind] / total for kind in KINDS]))


def asked(tick: Tick, card: DataCard, kind: str) -> Asked:
    """Question and answer of a tick. Raises ValueError for labels that do not fit the kind."""
    count = len(tick.pictures)
    task = check_instruction(tick.instruction)
    pictures = tick.pictures
    # One action alone is a flat list, as in the answers of pre-trained checkpoints.
    bins = tick.bins[0] if len(tick.bins) == 1 else tick.bins
    if kind == "reason":
        text = compose_answer(tick.depth, tick.trace, bins, card.wording)
        asks = question(task, count, depth=tick.depth is not None)
        return Asked(kind, pictures, asks, text)
    if kind in ("steer", "act"):
        if kind == "steer" and tick.trace is not None:
            pictures = (draw_trace(pictures[0], tick.trace), *pictures[1:])
        text = compose_answer(None, None, bins, "steering")
        return Asked(kind, pictures, question(task, count, steered=True), text)
    where = _FIRST[count > 1]
    if kind == "depth" and tick.depth is not None:
        asks = f"What is the depth map for {where}?"
        said = f" The depth map of {where} is {depth_to_text(tick.depth)}."
    elif kind == "trace" and tick.trace is not None:
        asks = f"The task is {task}. What is the trajectory of the end effector in {where}?"
        said = f" The trajectory of the end effector in {where} is {trace_to_text(tick.trace)}."
    else:
        raise ValueError(f"a sample of kind {kind!r} needs labels this tick lacks")
    return Asked(kind, pictures, asks, said)


def shortened(made: Asked, rows: int) -> Asked:
    """The answer as far as the first ``rows`` rows of its actions. The later rows of a chunk say
    little that the first ones do not, but fill half of the sequence.
    """
    parts = made.answer.rsplit("[[", 1)[-1].split("], [")
    if rows <= 0 or rows >= len(parts) or "]]" not in made.answer[-3:]:
        return made
    left_out = sum(len(part) for part in parts[rows:]) + 4 * (len(parts) - rows - 1)
    return replace(made, answer=made.answer[: len(made.answer) - left_out], ends=False)


def varied(
    tick: Tick, card: DataCard, recipe: Recipe, rng: np.random.Generator, kind: str
) -> Asked:
    """As ``asked``, with the visit's crop and colours. The trace is drawn before the crop; its
    text follows the crop when the card says so.
    """
    made = asked(tick, card, kind)
    pictures = list(made.pictures)
    if recipe.crop < 1.0:
        crops = [random_crop(rng, recipe.crop) for _ in pictures]
        pictures = [cropped(p, c) for p, c in zip(pictures, crops, strict=True)]
        if card.crop_moves_trace and tick.trace is not None and kind in ("reason", "trace"):
            trace = moved_trace(tick.trace, crops[0])
            if trace is None:
                return varied(tick, card, replace(recipe, crop=1.0), rng, kind)
            made = asked(replace(tick, trace=trace), card, kind)
    if recipe.jitter:
        pictures = [jittered(p, rng) for p in pictures]
    return replace(made, pictures=tuple(pictures))


def tokenised(
    made: Asked, tokenizer: MolmoActTokenizer, processor: ImageProcessor, limit: int
) -> Sample:
    """Raises TooLong when pictures, question and answer exceed ``limit`` tokens."""
    multi = len(made.pictures) > 1
    processed = processor([shrunk(picture) for picture in made.pictures], multi=multi)
    prompt = prompt_ids(tokenizer, chat_text(made.question), processed.kinds, multi=multi)
    ids = [*prompt, *tokenizer.encode(made.answer), tokenizer.ids.eos]
    if len(ids) > limit:
        raise TooLong(
            f"a {made.kind} sample has {len(ids)} tokens, the limit is {limit}; use smaller "
            "pictures or a shorter chunk"
        )
    crops, pooled = without_duplicates(
        processed.crops, np.asarray(processed.pooled_patches), np.asarray(processed.same_as)
    )
    return Sample(np.array(ids, np.int32), len(prompt), crops, pooled, made.kind)


def without_duplicates(
    crops: NDArray[np.float32],
    pooled: NDArray[np.int32],
    same_as: Sequence[int] | NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Crops that are the same picture once, with patch numbers [tokens, 4] renumbered."""
    unique, place = np.unique(np.asarray(same_as), return_inverse=True)
    patches = crops.shape[1]
    crop, patch = np.divmod(pooled, patches)
    renumbered = place[np.clip(crop, 0, len(place) - 1)] * patches + patch
    return crops[unique], np.where(pooled < 0, -1, renumbered).astype(np.int32)
