"""The grammar lets a released model say exactly what it would say anyway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.model.tokenizer import MolmoActTokenizer

CASES = json.loads((Path(__file__).resolve().parents[1] / "golden/tokens/cases.json").read_text())


@pytest.mark.parametrize("name", ["D_answer_0", "D_answer_1", "D_answer_2", "D_answer_3"])
def test_recorded_answers_pass_in_the_vocabulary_of_7b_d(name: str, released_tokenizer) -> None:
    """Here no symbol is one token; the automaton follows bytes through 2 to 4 tokens each."""
    _recorded(name, released_tokenizer("D"))


@pytest.mark.parametrize("name", ["O_answer_0", "O_answer_1"])
def test_recorded_answers_pass_in_the_vocabulary_of_7b_o(name: str, released_tokenizer) -> None:
    _recorded(name, released_tokenizer("O"))


def _recorded(name: str, tokenizer: MolmoActTokenizer) -> None:
    case = CASES[name]
    rows = 1 if "is [[" not in case["text"].rpartition("should take")[2] else 8
    shape = AnswerShape(("single",), rows=rows)
    grammar = AnswerGrammar(tokenizer, answer_automaton(shape, tokenizer))
    ids, state, certain = [*case["ids"], tokenizer.ids.eos], grammar.start, set()
    for place, token in enumerate(ids):
        assert token in grammar.allowed(state), f"token {place} of {len(ids)}"
        forced = grammar.forced(state, ids[:place])
        assert forced == ids[place : place + len(forced)]
        certain.update(range(place, place + len(forced)))
        state = grammar.advance(state, token)
    assert grammar.done(state)
    assert len(certain) > 40, "sentences and separators must not be asked for"
