"""How many forwards a thought takes: what the engine is for. See benchmarks/engine_counts.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.engine.answers import AnswerShape
from molmoact_ros.reasoning.answer import compose_answer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from engine_recital import count, scene


@pytest.fixture
def recite(words, grammar_of):
    """Function (name, mode, texts, rows): forwards for each text, with one memory."""

    def run(name: str, mode: str, texts: list[str], rows=(64,)) -> list[tuple[int, int]]:
        tokenizer, vocabulary = words(name)
        grammar = grammar_of(name, AnswerShape(("multi",)))
        return count(tokenizer, vocabulary, grammar, mode, texts, rows)

    return run


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
