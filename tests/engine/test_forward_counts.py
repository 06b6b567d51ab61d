"""How many forwards a thought takes: what the engine is for.

The network is replaced by a list of what it would write, so only guessing and laying out rows is
at work here; that real networks decide the same is shown in test_equality_network.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.engine.answers import AnswerShape
from molmoact_ros.engine.decode import Decoding
from molmoact_ros.engine.guide import Guide
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.reader import AnswerReader
from molmoact_ros.engine.settings import EngineSettings
from molmoact_ros.engine.spelling import Speller
from molmoact_ros.reasoning.answer import compose_answer


class Recital:
    """Writes one text; off the text it writes nonsense. Checks that every row sees exactly the
    tokens of its own branch.
    """

    def __init__(self, sizes: tuple[int, ...], target: list[int]) -> None:
        self.sizes = sizes
        self._target = target
        self._slots: dict[int, int] = {}

    def prefill(self, prompt, features, answer) -> None:
        self._slots = dict(enumerate(prompt[:-1]))
        self._first = len(prompt)

    def decide(self, rows) -> list[int]:
        past = [self._slots[slot] for slot in range(rows.start)]
        decided = []
        for row, position in enumerate(rows.positions):
            branch = [rows.tokens[other] for other in np.flatnonzero(rows.sees[row])]
            text = past + branch
            assert len(text) == position + 1, "a row sees one token for every position before it"
            written = text[self._first :]
            known = self._target[: len(written)] == written
            decided.append(self._target[len(written)] if known else 0)
        for row, token in enumerate(rows.tokens):
            self._slots[rows.start + row] = token
        return decided


@pytest.fixture
def recite(words, grammar_of):
    """Function (name, mode, texts, rows): forwards for each text, with one memory."""

    def run(name: str, mode: str, texts: list[str], rows=(64,)) -> list[tuple[int, int]]:
        tokenizer, vocabulary = words(name)
        grammar = grammar_of(name, AnswerShape(("multi",)))
        guide = Guide(grammar, Speller(tokenizer, grammar, vocabulary.bytes_of), tokenizer.ids)
        memory, found = DraftMemory(), []
        for text in texts:
            target = [*tokenizer.encode(text), tokenizer.ids.eos]
            reader = AnswerReader(tokenizer.ids, vocabulary.bytes_of)
            decoding = Decoding(
                Recital(rows, target), EngineSettings(mode, rows=rows), guide, reader, memory,
                tokenizer.ids.eos, lambda part: None, lambda: False,
            )  # fmt: skip
            answer = decoding.run([tokenizer.ids.eos, 1, 2, 3], None)
            assert answer.ids == tuple(target[:-1])
            assert answer.ended
            memory.learn(reader)
            # Plain decoding: the prompt, then one forward a token and one for the end.
            found.append((answer.forwards, len(target) + 1))
        return found

    return run


def scene(hits: float, steps: int, seed: int = 0) -> list[str]:
    """Answers whose depth codes stay with probability ``hits``; traces and chunks wander."""
    rng = np.random.default_rng(seed)
    depth, trace = rng.integers(0, 128, 100), np.sort(rng.integers(20, 236, (5, 2)), axis=0)
    bins = np.clip(127 + np.cumsum(rng.normal(0, 12, (8, 7)), axis=0), 0, 255).astype(int)
    texts = []
    for _ in range(steps):
        texts.append(compose_answer(depth, trace.tolist(), bins, "multi"))
        if hits < 1:
            depth = np.where(rng.random(100) < hits, depth, rng.integers(0, 128, 100))
            trace = np.clip(trace + rng.integers(-2, 3, (5, 2)), 0, 255)
            bins = np.clip(bins + np.rint(rng.normal(0, 5, (8, 7))).astype(int), 0, 255)
    return texts


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["constrained", "strict"])
@pytest.mark.parametrize("name", ["nano", "D"])
def test_a_quarter_of_plain_when_eighty_percent_of_depth_stays(recite, name, mode) -> None:
    found = recite(name, mode, scene(0.8, 8))[2:]
    assert np.mean([ours / plain for ours, plain in found]) <= 1 / 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["constrained", "strict"])
@pytest.mark.parametrize("name", ["nano", "D"])
def test_a_twentieth_of_plain_when_the_scene_stands_still(recite, name, mode) -> None:
    found = recite(name, mode, scene(1.0, 5))[3:]
    assert max(ours / plain for ours, plain in found) <= 1 / 20


@pytest.mark.parametrize("rows", [(64,), (16,), (1, 4, 8)])
def test_wrong_guesses_never_cost_a_forward(recite, rows) -> None:
    """The worst memory may not be slower than none."""
    texts = scene(0.0, 2)
    (alone, _), (after, plain) = recite("nano", "strict", texts, rows)
    assert max(alone, after) <= plain


def test_the_number_of_depth_codes_may_change_from_frame_to_frame(recite) -> None:
    """The model decides it; guesses of another length only cost their forward."""
    rng = np.random.default_rng(3)
    codes, bins = rng.integers(0, 128, 120), rng.integers(0, 256, (8, 7))
    texts = [compose_answer(codes[:n], [[1, 2], [3, 4]], bins, "multi") for n in (100, 98, 120, 1)]
    found = recite("nano", "strict", texts)
    assert all(ours < plain / 8 for ours, plain in found[1:])
