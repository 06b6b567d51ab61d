"""The grammar admits every complete answer and nothing else, in any vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.engine.answers import AnswerShape, answer_automaton, wordings_for
from molmoact_ros.engine.automaton import DEAD, Builder
from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.model.checkpoint import Checkpoint
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.reasoning.answer import AnswerContract, compose_answer, parse_answer
from molmoact_ros.reasoning.statistics import ActionStatistics

NANO = build_nano_tokenizer()
DEPTH, TRACE = np.arange(100) % 128, [[140, 225], [0, 7]]
BINS = (np.arange(56).reshape(8, 7) * 37) % 256


def walk(grammar: AnswerGrammar, ids: list[int]) -> int:
    """Through the grammar token by token; every token must be allowed and agree with ``forced``."""
    state = grammar.start
    for place, token in enumerate(ids):
        assert token in grammar.allowed(state), f"token {place} of {len(ids)}"
        forced = grammar.forced(state, ids[:place])
        assert forced == ids[place : place + len(forced)]
        state = grammar.advance(state, token)
    return state


@pytest.mark.parametrize("wording", ["single", "multi", "finetune", "steering"])
def test_every_wording_is_admitted(wording) -> None:
    shape = AnswerShape((wording,), rows=8)
    if wording == "steering":
        text = compose_answer(None, None, BINS, wording)
    else:
        text = compose_answer(DEPTH, TRACE, BINS, wording)
    grammar = AnswerGrammar(NANO, answer_automaton(shape, NANO))
    state = walk(grammar, [*NANO.encode(text), NANO.ids.eos])
    assert grammar.done(state)
    assert grammar.allowed(state).size == 0


def test_wordings_follow_the_question() -> None:
    assert wordings_for(1, False) == ("single",)
    assert wordings_for(2, False) == ("multi",)
    assert wordings_for(1, True) == wordings_for(2, True) == ("steering",)


def test_several_wordings_at_once_leave_the_choice_to_the_model() -> None:
    shape = AnswerShape(("single", "multi"), rows=8)
    grammar = AnswerGrammar(NANO, answer_automaton(shape, NANO))
    for wording in shape.wordings:
        text = compose_answer(DEPTH, TRACE, BINS, wording)
        assert grammar.done(walk(grammar, [*NANO.encode(text), NANO.ids.eos]))


def test_the_number_of_depth_codes_is_free_or_fixed(grammar: AnswerGrammar, nano) -> None:
    """The parser refuses a wrong count; the grammar may only decide it when it is told to."""
    ids = nano.tokenizer.ids
    start = nano.tokenizer.encode(" The depth map of the image is ") + [ids.depth_start]
    few = walk(grammar, [*start, *[ids.depth_code] * 3])
    assert ids.depth_end in grammar.allowed(few)
    assert ids.depth_code + 127 in grammar.allowed(few)
    fixed = AnswerGrammar(
        nano.tokenizer,
        answer_automaton(AnswerShape(("single",), depth_codes=3), nano.tokenizer),
    )
    assert fixed.allowed(walk(fixed, [*start, *[ids.depth_code] * 3])).tolist() == [ids.depth_end]
    assert ids.depth_end not in fixed.allowed(walk(fixed, [*start, *[ids.depth_code] * 2]))


@pytest.mark.parametrize(
    "trace", ["[[256, 1]]", "[[1]]", "[[01, 2]]", "[[-1, 2]]", "[]", "[[1, 2], " + "[3, 4], " * 5]
)
def test_a_trace_outside_the_contract_is_dead(grammar, nano, trace: str) -> None:
    text = compose_answer(DEPTH, TRACE, BINS, "single")
    ids = nano.tokenizer.encode(text.replace("[[140, 225], [0, 7]]", trace))
    with pytest.raises((ValueError, AssertionError)):
        walk(grammar, ids)


def test_a_token_that_is_not_allowed_cannot_be_taken(grammar: AnswerGrammar) -> None:
    for token in (NANO.ids.eos, NANO.ids.im_patch, -1):
        with pytest.raises(ValueError, match="cannot follow"):
            grammar.advance(grammar.start, token)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_walk_of_allowed_tokens_is_an_answer_the_parser_accepts(data) -> None:
    """Whatever the weights say, a finished answer parses."""
    shape = AnswerShape(("single",), rows=2, depth_codes=4, dims=3)
    grammar = AnswerGrammar(NANO, answer_automaton(shape, NANO))
    state, answer = grammar.start, []
    while not grammar.done(state):
        answer.append(data.draw(st.sampled_from(grammar.allowed(state).tolist())))
        state = grammar.advance(state, answer[-1])
    statistics = ActionStatistics(-np.ones(3), np.ones(3), np.array([True, True, False]))
    thought = parse_answer(
        NANO.decode(answer), AnswerContract(statistics, rows=2, dims=3, depth_codes=4)
    )
    assert thought.actions.shape == (2, 3)
    assert 1 <= len(thought.trace) <= 5


def test_certain_text_is_read_without_asking_the_model(nano: Checkpoint) -> None:
    """Separators and sentences make up most of an answer; asking for each would double the time."""
    shape = AnswerShape(("multi",), depth_codes=100)
    grammar = AnswerGrammar(nano.tokenizer, answer_automaton(shape, nano.tokenizer))
    ids = nano.tokenizer.encode(compose_answer(DEPTH, TRACE, BINS, "multi"))
    state, place, asked = grammar.start, 0, 0
    while place < len(ids):
        forced = grammar.forced(state, ids[:place])
        asked += not forced
        for token in forced or ids[place : place + 1]:
            state, place = grammar.advance(state, token), place + 1
    assert asked <= 100 + 4 * 2 + 56 + 4


def test_words_that_begin_alike_share_their_beginning() -> None:
    builder = Builder()
    start = builder.position()
    end = builder.one_of(start, [b"1", b"12", b"127"])
    automaton = builder.finish(start, builder.word(end, b","))
    for word in (b"1,", b"12,", b"127,"):
        assert automaton.complete(automaton.walk(automaton.start, word))
    for word in (b"2", b"1,,", b"128"):
        assert automaton.walk(automaton.start, word) == DEAD
