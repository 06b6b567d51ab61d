"""What a robot relies on: parts while they are written, a stop that stops, a memory that is only
a guess, given rows that are kept.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.engine import Engine
from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.engine.greedy import Canceled, decode_greedy
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.settings import EngineSettings, settings_for
from molmoact_ros.reasoning.symbols import SYMBOLS

SHAPE = AnswerShape(("single",), rows=4, dims=3, depth_codes=9)
SETTINGS = EngineSettings(rows=(1, 8, 24), least_probability=0.1, prefill_bucket=16)


@pytest.fixture
def parts(words, tiny, grammar_of):
    """Vocabulary, network, grammar, prompt and an engine for them."""
    tokenizer, vocabulary = words("nano")
    model, grammar = tiny(tokenizer.vocab_size, "D", 3), grammar_of("nano", SHAPE)
    prompt = [tokenizer.ids.eos, *tokenizer.encode("User: go. Assistant:")]
    return tokenizer, model, grammar, prompt, Engine(model, tokenizer, SETTINGS, vocabulary)


def test_parts_come_in_order_and_are_those_of_the_text(parts) -> None:
    """An operator sees depth before trace before rows; a row must not come twice."""
    tokenizer, _, grammar, prompt, engine = parts
    seen = []
    answer = engine.answer(prompt, None, grammar, on_part=seen.append)
    assert [(part.kind, part.index) for part in seen] == [
        ("depth", 0), ("trace", 0), ("row", 0), ("row", 1), ("row", 2), ("row", 3),
    ]  # fmt: skip
    text = tokenizer.decode(answer.ids)
    assert "".join(f"<DEPTH_{code}>" for code in seen[0].values) in text
    row = ", ".join(SYMBOLS[number] for number in seen[2].values)
    assert f"[[{row}], [" in text


def test_a_row_leaves_before_later_rows_are_decoded(parts) -> None:
    """Time to the first row is what streaming is for."""
    _, _, grammar, prompt, engine = parts
    forwards: list[int] = []
    at_row: list[int] = []

    def part_of(part) -> None:
        if part.kind == "row":
            at_row.append(len(forwards))

    def counting() -> bool:
        forwards.append(1)
        return False

    engine.answer(prompt, None, grammar, on_part=part_of, canceled=counting)
    assert at_row[0] < at_row[-1] <= len(forwards)


def test_a_stop_ends_the_answer_before_the_next_forward(parts, monkeypatch) -> None:
    _, _, grammar, prompt, engine = parts
    asked, decided = [], []
    original = engine._network.decide
    monkeypatch.setattr(engine._network, "decide", lambda rows: decided.append(1) or original(rows))

    def canceled() -> bool:
        asked.append(True)
        return len(asked) > 5

    with pytest.raises(Canceled):
        engine.answer(prompt, None, grammar, canceled=canceled)
    assert len(asked) == 6
    assert len(decided) == 4, "one question before the prompt, then one before every forward"


def test_a_canceled_answer_leaves_nothing_behind(parts) -> None:
    _, _, grammar, prompt, engine = parts
    expected = engine.answer(prompt, None, grammar)
    calls = iter(range(100))
    with pytest.raises(Canceled):
        engine.answer(prompt, None, grammar, canceled=lambda: next(calls) > 4)
    assert engine.answer(prompt, None, grammar).ids == expected.ids


def test_robots_do_not_share_their_memories(parts) -> None:
    """One engine may serve several robots; what one saw must not even slow another."""
    _, _, grammar, prompt, engine = parts
    first, second = DraftMemory(), DraftMemory()
    alone = engine.answer(prompt, None, grammar, memory=second).forwards
    engine.answer(prompt, None, grammar, memory=first)
    again = engine.answer(prompt, None, grammar, memory=first)
    assert again.forwards < alone
    second.forget()
    assert engine.answer(prompt, None, grammar, memory=second).forwards == alone


@pytest.mark.parametrize("mode", ["constrained", "strict"])
def test_given_rows_are_kept_and_the_model_continues_from_them(parts, words, mode) -> None:
    """The rows a robot drives while it thinks are no longer open to change."""
    tokenizer, model, grammar, prompt, _ = parts
    rows = ((5, 250, 127), (100, 3, 255))
    text = "], [".join(", ".join(SYMBOLS[number] for number in row) for row in rows)

    class Given(AnswerGrammar):
        """One by one: the rows are certain text where the chunk begins."""

        def forced(self, state, answer):
            if self.label(state) == ("action", 0, 0):
                return tokenizer.encode(f"[[{text}], [")[1:]
            return super().forced(state, answer)

    slow = Given(tokenizer, answer_automaton(SHAPE, tokenizer), words("nano")[1])
    expected = decode_greedy(model, tokenizer.ids, prompt, None, grammar=slow)
    engine = Engine(model, tokenizer, replace(SETTINGS, mode=mode), words("nano")[1])
    if mode == "strict":
        # A random network never reaches the chunk on its own.
        with pytest.raises(ValueError, match="choose constrained or strict"):
            Engine(model, tokenizer, EngineSettings("plain")).answer(
                prompt, None, None, first_rows=rows
            )
        return
    found = engine.answer(prompt, None, grammar, first_rows=rows)
    assert f"[[{text}], [" in tokenizer.decode(found.ids)
    assert found.ids == expected.ids


@pytest.mark.parametrize("rows", [((1, 2, 3),) * 4, ((1, 2),)])
def test_given_rows_that_do_not_fit_are_refused(parts, rows) -> None:
    _, _, grammar, prompt, engine = parts
    with pytest.raises(ValueError, match="give fewer rows"):
        engine.answer(prompt, None, grammar, first_rows=rows)


def test_a_prompt_that_does_not_fit_is_refused(parts) -> None:
    tokenizer, _, grammar, _, engine = parts
    with pytest.raises(ValueError, match="use smaller pictures"):
        engine.answer([tokenizer.ids.eos] * 2000, None, grammar)


def test_pictures_and_prompt_must_agree(parts) -> None:
    tokenizer, _, grammar, _, engine = parts
    prompt = [tokenizer.ids.eos, *[tokenizer.ids.im_patch] * 3, 1, 2]
    with pytest.raises(ValueError, match="image-patch tokens"):
        engine.answer(prompt, torch.zeros(2, 32), grammar)


def test_modes_that_need_a_grammar_say_so(parts) -> None:
    _, _, _, prompt, engine = parts
    with pytest.raises(ValueError, match="needs a grammar"):
        engine.answer(prompt, None, None)


def test_plain_mode_is_the_plain_loop(parts, words) -> None:
    tokenizer, model, _, prompt, _ = parts
    settings = EngineSettings("plain", rows=(1,), max_new_tokens=30)
    found = Engine(model, tokenizer, settings, words("nano")[1]).answer(prompt, None, None)
    expected = decode_greedy(model, tokenizer.ids, prompt, None, max_new_tokens=30)
    assert found.ids == expected.ids
    assert found.forwards == 31, "the prompt, then one a token"


def test_memory_does_not_grow_with_thoughts(parts) -> None:
    """A robot thinks for weeks: tables may fill, but not without end."""
    tokenizer, _, grammar, prompt, engine = parts
    memory, rng = DraftMemory(), np.random.default_rng(0)
    sizes = []
    for thought in range(60):
        memory.rows = tuple(map(tuple, rng.integers(0, 256, (4, 3)).tolist()))
        memory.depth = tuple(rng.integers(0, 128, 9).tolist())
        engine.answer([*prompt, thought % 7], None, grammar, memory=memory)
        sizes.append(_held(engine))
    assert max(sizes[30:]) <= max(sizes[:30]) + 64
    assert sys.getrefcount(memory) < 10


def _held(engine: Engine) -> int:
    """Tensors and heads an engine keeps."""
    network = engine._network
    return len(network._steps) + len(engine._heads) + len(engine._guides)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "fast"}, {"rows": ()}, {"rows": (8, 4)}, {"rows": (0, 4)}, {"prefill_bucket": 1},
        {"least_probability": 2.0}, {"max_new_tokens": 0},
    ],
)  # fmt: skip
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"choose|give|use"):
        EngineSettings(**wrong)


def test_hardware_chooses_the_rows() -> None:
    """A CPU pays for every row, a GPU for none up to its limit."""
    assert settings_for("cpu").rows[0] == 1
    assert settings_for("NVIDIA H100 80GB HBM3").rows == (64,)
    assert settings_for("NVIDIA GeForce RTX 4090").rows == (32,)
    assert settings_for("some other device").rows == (32,)
