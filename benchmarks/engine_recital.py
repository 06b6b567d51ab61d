"""A network that recites: counts the engine's forwards without any arithmetic.

Only guessing and laying out rows is at work; that real networks decide the same is shown by
tests/engine/test_equality_network.py.
"""

from __future__ import annotations

import numpy as np

from molmoact_ros.engine.decode import Decoding
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.guide import Guide
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.reader import AnswerReader
from molmoact_ros.engine.rows import Rows
from molmoact_ros.engine.settings import EngineSettings, Mode
from molmoact_ros.engine.spelling import Speller
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.answer import compose_answer


class Recital:
    """Writes one text; off the text it writes nonsense. Checks that every row sees exactly the
    tokens of its own branch.
    """

    def __init__(self, sizes: tuple[int, ...], target: list[int]) -> None:
        self.sizes = sizes
        self._target = target
        self._slots: dict[int, int] = {}

    def prefill(self, prompt, features, answer) -> None:  # type: ignore[no-untyped-def]
        self._slots = dict(enumerate(prompt[:-1]))
        self._first = len(prompt)

    def decide(self, rows: Rows) -> list[int]:
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


def count(
    tokenizer: MolmoActTokenizer,
    vocabulary: Vocabulary,
    grammar: AnswerGrammar,
    mode: Mode,
    texts: list[str],
    rows: tuple[int, ...] = (64,),
) -> list[tuple[int, int]]:
    """Forwards of the engine and of plain decoding for each text, with one memory."""
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
        assert answer.ids == tuple(target[:-1]) and answer.ended
        memory.learn(reader)
        # Plain decoding: the prompt, then one forward a token and one for the end.
        found.append((answer.forwards, len(target) + 1))
    return found


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
