"""Looking at episodes that are not trained on: losses by span, and whole answers decoded.

Decoded numbers are in the units of the robot (millimetres, degrees, grid units), because a loss
says little about a motion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from molmoact_ros.data.dataset import DataSet, Tick
from molmoact_ros.engine.answers import AnswerShape, answer_automaton, wordings_for
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.greedy import decode_greedy
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.actions import decode
from molmoact_ros.reasoning.answer import AnswerContract, parse_answer
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused
from molmoact_ros.train.batches import collate
from molmoact_ros.train.loss import Learner
from molmoact_ros.train.recipe import Recipe
from molmoact_ros.train.samples import asked, tokenised

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


def spread_ticks(data: DataSet, count: int) -> list[Tick]:
    """``count`` ticks spread evenly over the held-out episodes."""
    numbers = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).astype(int))
    return [data.tick(int(number)) for number in numbers]


@torch.no_grad()
def teacher_forced(
    learner: Learner,
    data: DataSet,
    ticks: Sequence[Tick],
    reading: tuple[MolmoActTokenizer, ImageProcessor],
    recipe: Recipe,
) -> dict[str, float]:
    """Loss and token accuracy by span, with every token before it true; of reasoning answers."""
    was, spans = learner.training, Spans.of(reading[0]).table
    learner.eval()
    losses, hits = np.zeros(len(SPANS)), np.zeros(len(SPANS))
    counts = np.zeros(len(SPANS))
    device = next(learner.parameters()).device
    for start in range(0, len(ticks), recipe.micro):
        samples = [
            tokenised(asked(tick, data.card, _kind(tick)), *reading, recipe.limit)
            for tick in ticks[start : start + recipe.micro]
        ]
        logits, targets = learner.logits(collate(samples).to(device))
        entropy = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        place = spans[targets.cpu().numpy()]
        right = (logits.argmax(-1) == targets).cpu().numpy()
        np.add.at(losses, place, entropy.cpu().numpy())
        np.add.at(hits, place, right)
        np.add.at(counts, place, 1)
    learner.train(was)
    out = {"loss": float(losses.sum() / max(counts.sum(), 1))}
    for i, name in enumerate(SPANS):
        if counts[i]:
            out[f"loss_{name}"] = float(losses[i] / counts[i])
            out[f"accuracy_{name}"] = float(hits[i] / counts[i])
    return out


class Decoder:
    """Answers held-out ticks greedily, held to the form of an answer, as the robot would."""

    def __init__(
        self,
        network: MolmoAct,
        reading: tuple[MolmoActTokenizer, ImageProcessor],
        data: DataSet,
        limit: int = 640,
    ) -> None:
        self._network, self._data, self._limit = network, data, limit
        self._tokenizer, self._processor = reading
        self._vocabulary = Vocabulary(self._tokenizer)
        self._grammars: dict[bool, AnswerGrammar] = {}

    def answer(self, tick: Tick) -> Thought:
        """Raises ThoughtRefused."""
        kind = _kind(tick)
        steered = kind != "reason"
        sample = tokenised(
            asked(tick, self._data.card, kind), self._tokenizer, self._processor, 10**6
        )
        statistics = self._data.statistics
        contract = AnswerContract(
            statistics,
            rows=self._data.card.chunk,
            dims=statistics.dims,
            depth_required=tick.depth is not None,
            steered=steered,
        )
        network = self._network
        with torch.inference_mode():
            features = network.encode_images(
                torch.from_numpy(sample.crops), torch.from_numpy(sample.pooled).long()
            )
            decoded = decode_greedy(
                network,
                self._tokenizer.ids,
                sample.ids[: sample.answer].tolist(),
                features,
                grammar=self._grammar(steered, contract, len(tick.pictures)),
                max_new_tokens=self._limit,
            )
        return parse_answer(self._tokenizer.decode(decoded.ids), contract)

    def _grammar(self, steered: bool, contract: AnswerContract, images: int) -> AnswerGrammar:
        if steered not in self._grammars:
            shape = AnswerShape(
                wordings_for(images, steered),
                rows=contract.rows,
                dims=contract.dims,
                depth_codes=contract.depth_codes,
            )
            automaton = answer_automaton(shape, self._tokenizer)
            self._grammars[steered] = AnswerGrammar(self._tokenizer, automaton, self._vocabulary)
        return self._grammars[steered]


def decoded_metrics(
    answer: Callable[[Tick], Thought], data: DataSet, ticks: Sequence[Tick]
) -> dict[str, float]:
    """Errors of whole answers: millimetres and degrees at the first row and over the chunk,
    gripper F1 (closed is positive), trace in grid units, share of right depth codes, refusals.
    """
    found: dict[str, list[float]] = {}
    refused, grips = 0, np.zeros(3)
    for tick in ticks:
        try:
            thought = answer(tick)
        except ThoughtRefused:
            refused += 1
            continue
        truth = data.statistics.unnormalise(decode(tick.bins))
        error = np.abs(thought.actions - truth)
        add = found.setdefault
        add("first_mm", []).append(1000.0 * float(error[0, :3].mean()))
        add("chunk_mm", []).append(1000.0 * float(error[:, :3].mean()))
        add("chunk_deg", []).append(float(np.degrees(error[:, 3:6].mean())))
        path = np.abs(np.cumsum(thought.actions - truth, axis=0)[-1, :3])
        add("end_mm", []).append(1000.0 * float(path.mean()))
        closed, wanted = thought.actions[:, -1] < 0.5, truth[:, -1] < 0.5
        grips += [(closed & wanted).sum(), (closed & ~wanted).sum(), (~closed & wanted).sum()]
        if tick.trace is not None and len(thought.trace):
            add("trace_units", []).append(trace_error(thought.trace, tick.trace))
        if tick.depth is not None and thought.depth is not None:
            add("depth_codes", []).append(
                float((thought.depth.reshape(-1) == tick.depth.reshape(-1)).mean())
            )
    out = {name: float(np.mean(values)) for name, values in found.items()}
    right, wrong, missed = grips
    if right + wrong + missed:
        out["gripper_f1"] = float(2 * right / (2 * right + wrong + missed))
    out["refused"] = refused / max(len(ticks), 1)
    return out


def trace_error(found: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Mean distance in grid units after both are cut to the shorter one's points, evenly."""
    count = min(len(found), len(truth))
    pick = [
        points[np.linspace(0, len(points) - 1, count).round().astype(int)].astype(np.float64)
        for points in (found, truth)
    ]
    return float(np.linalg.norm(pick[0] - pick[1], axis=1).mean())


def _kind(tick: Tick) -> str:
    return "reason" if tick.trace is not None and tick.depth is not None else "act"
