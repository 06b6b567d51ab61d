"""Whole answers of a network that is being trained, asked and judged as the robot does it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.dataset import DataSet, Tick
from molmoact_ros.engine.answers import AnswerShape, answer_automaton, wordings_for
from molmoact_ros.engine.automaton import DEAD
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.greedy import Decoded, decode_greedy
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.policy.view import view_of
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused
from molmoact_ros.train.augment import centre_crop, moved_trace
from molmoact_ros.train.recipe import Recipe
from molmoact_ros.train.samples import asked, tokenised

SPARE_TOKENS = 64
"""A free answer that is so much longer than the true one will not end any more."""
MOST_TOKENS = 640


@dataclass(frozen=True, eq=False)
class Spoken:
    """thought: None when it was refused even under the grammar of answers. free: whether the
    network's own words, without a grammar, could be read. tokens of all that was written, seconds
    it took.
    """

    thought: Thought | None
    free: bool
    tokens: int
    seconds: float


def as_driven(tick: Tick, card: DataCard) -> Tick:
    """A tick as the robot's network sees it: pictures at the card's size, their centre only, and
    the trace where it lies in that part (None when its first point is outside).
    """
    pictures = view_of(card.travelling, longest=None).seen(tick.pictures)
    trace = tick.trace
    if trace is not None and card.center_crop < 1.0 and card.crop_moves_trace:
        trace = moved_trace(trace, centre_crop(card.center_crop))
    return replace(tick, pictures=pictures, trace=trace)


def look_kind(tick: Tick, recipe: Recipe) -> str:
    """The kind of question to look at: reasoning where it is trained and there is a trace."""
    if tick.trace is None:
        return "act"
    if recipe.reason > 0.0:
        return "reason"
    return "steer" if recipe.steer > 0.0 and recipe.act == 0.0 else "act"


class Decoder:
    """Answers ticks (as driven) greedily: freely first, and held to the form of an answer, as on
    the robot, where that would have said something else.
    """

    def __init__(
        self,
        network: MolmoAct,
        reading: tuple[MolmoActTokenizer, ImageProcessor],
        data: DataSet,
        recipe: Recipe,
    ) -> None:
        self._network, self._data, self._recipe = network, data, recipe
        self._tokenizer, self._processor = reading
        self._vocabulary = Vocabulary(self._tokenizer)
        self._grammars: dict[tuple[bool, bool], AnswerGrammar] = {}

    def answer(self, tick: Tick) -> Spoken:
        """Never raises ThoughtRefused: a refusal is a result."""
        kind = look_kind(tick, self._recipe)
        sample = tokenised(
            asked(tick, self._data.card, kind), self._tokenizer, self._processor, 10**6
        )
        statistics = self._data.statistics
        contract = AnswerContract(
            statistics,
            rows=self._data.card.chunk,
            dims=statistics.dims,
            depth_required=tick.depth is not None,
            steered=kind != "reason",
        )
        prompt = sample.ids[: sample.answer].tolist()
        limit = len(sample.ids) - sample.answer + SPARE_TOKENS
        grammar = self._grammar(contract, len(tick.pictures))
        started = time.perf_counter()
        with torch.inference_mode():
            features = self._network.encode_images(
                torch.from_numpy(sample.crops), torch.from_numpy(sample.pooled).long()
            )

        def decoded(held: AnswerGrammar | None, most: int) -> Decoded:
            return decode_greedy(
                self._network, self._tokenizer.ids, prompt, features,
                grammar=held, max_new_tokens=most,
            )  # fmt: skip

        found = decoded(None, limit)
        tokens, free = len(found.ids) + 1, self._read(found, contract)
        thought = free
        if free is None or not _allowed(grammar, found.ids):
            found = decoded(grammar, max(limit, MOST_TOKENS))
            tokens, thought = tokens + len(found.ids) + 1, self._read(found, contract)
        return Spoken(thought, free is not None, tokens, time.perf_counter() - started)

    def _read(self, found: Decoded, contract: AnswerContract) -> Thought | None:
        if not found.ended:
            return None
        try:
            return parse_answer(self._tokenizer.decode(found.ids), contract)
        except ThoughtRefused:
            return None

    def _grammar(self, contract: AnswerContract, images: int) -> AnswerGrammar:
        key = (contract.steered, contract.depth_required)
        if key not in self._grammars:
            shape = AnswerShape(
                wordings_for(images, contract.steered),
                rows=contract.rows,
                dims=contract.dims,
                depth_codes=contract.depth_codes,
                depth=contract.depth_required,
            )
            automaton = answer_automaton(shape, self._tokenizer)
            self._grammars[key] = AnswerGrammar(self._tokenizer, automaton, self._vocabulary)
        return self._grammars[key]


def _allowed(grammar: AnswerGrammar, ids: tuple[int, ...]) -> bool:
    """Whether the grammar would have let every token pass, so that it would change nothing."""
    state = grammar.start
    for token in ids:
        state = grammar.follow(state, token)
        if state == DEAD:
            return False
    return True


@contextlib.contextmanager
def same_tokens(network: MolmoAct) -> Iterator[None]:
    """Within it all processes decide by the first one's logits. They decode the same answer
    together, and one rounding that differs would leave them waiting for different layers.
    """

    def shared(_module: object, _inputs: object, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        dist.broadcast(logits, 0)
        return logits

    handle = network.lm_head.register_forward_hook(shared)
    try:
        yield
    finally:
        handle.remove()
