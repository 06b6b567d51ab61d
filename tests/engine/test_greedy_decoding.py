"""Greedy decoding chooses the best token that may follow, and stops when it is told to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.engine.greedy import Canceled, SegmentClock, decode_greedy
from molmoact_ros.model.checkpoint import load_model
from molmoact_ros.model.config import load_config
from molmoact_ros.model.tokenizer import SpecialIds

GOLDEN = Path(__file__).resolve().parents[1] / "golden/models"
NEVER = -5


class StepByStep(AnswerGrammar):
    """A grammar that asks the model for every token."""

    def forced(self, state, answer):
        return []


@pytest.mark.parametrize("name", ["d_tiny", "o_tiny"])
def test_without_grammar_it_repeats_the_recorded_ids(name: str) -> None:
    folder = GOLDEN / name
    data = np.load(folder / "single_small.npz")
    model = load_model(folder, load_config(folder))
    special = json.loads((folder / "preprocessor.json").read_text())["special_ids"]
    ids = SpecialIds(NEVER, 0, NEVER, NEVER, NEVER, 0, 0, special["im_patch"], 0)
    features = torch.from_numpy(data["image_features"])
    out = decode_greedy(model, ids, data["in_input_ids"][0].tolist(), features, max_new_tokens=40)
    assert list(out.ids) == data["generated_ids"][0].tolist()
    assert not out.ended
    assert out.forwards == 40


def test_certain_text_does_not_change_the_answer(nano, grammar) -> None:
    prompt = [nano.tokenizer.ids.eos, *nano.tokenizer.encode("User: go. Assistant:")]
    fast = decode_greedy(nano.model, nano.tokenizer.ids, prompt, None, grammar=grammar)
    slow_grammar = StepByStep(nano.tokenizer, grammar._automaton)
    slow_grammar.allowed = _canonical(slow_grammar, grammar)  # type: ignore[method-assign]
    slow = decode_greedy(nano.model, nano.tokenizer.ids, prompt, None, grammar=slow_grammar)
    assert fast.ids == slow.ids
    assert fast.forwards < slow.forwards


def _canonical(slow: AnswerGrammar, fast: AnswerGrammar):
    """Only canonical tokens where text is certain: what the fast run takes without asking."""
    answer: list[int] = []
    plain, advance = slow.allowed, slow.advance

    def record(state: int, token: int) -> int:
        answer.append(token)
        return advance(state, token)

    slow.advance = record  # type: ignore[method-assign]

    def allowed(state: int):
        forced = fast.forced(state, answer)
        return np.array(forced[:1]) if forced else plain(state)

    return allowed


def test_a_finished_answer_is_complete(nano, grammar) -> None:
    prompt = [nano.tokenizer.ids.eos]
    clock = SegmentClock(nano.tokenizer.ids, nano.tokenizer.token_bytes())
    out = decode_greedy(nano.model, nano.tokenizer.ids, prompt, None, grammar=grammar, clock=clock)
    text = nano.tokenizer.decode(out.ids)
    assert out.ended
    assert text.startswith(" The depth map")
    assert text.endswith("]].")
    assert set(out.timings) == {"prefill", "depth", "trace", "actions"}
    assert all(seconds >= 0 for seconds in out.timings.values())


def test_the_token_limit_is_kept(nano, grammar) -> None:
    out = decode_greedy(
        nano.model, nano.tokenizer.ids, [0], None, grammar=grammar, max_new_tokens=20
    )
    assert len(out.ids) == 20
    assert not out.ended


def test_cancel_is_checked_at_every_token(nano, grammar) -> None:
    """A person who presses Stop must not wait for 300 more tokens."""
    asked = []

    def canceled() -> bool:
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(Canceled):
        decode_greedy(nano.model, nano.tokenizer.ids, [0], None, grammar=grammar, canceled=canceled)
    assert len(asked) == 4
