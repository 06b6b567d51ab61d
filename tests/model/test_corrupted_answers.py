"""Whatever a model's tokens turn into, a thought has its full shape or there is none."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.model.stand_in_tokenizer import stand_in_tokenizer
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.answer import AnswerContract, compose_answer, parse_answer
from molmoact_ros.reasoning.statistics import ActionStatistics
from molmoact_ros.reasoning.thought import ThoughtRefused

Q99 = np.array([0.03, 0.04, 0.025, 0.1, 0.15, 0.2, 1.0])
CONTRACT = AnswerContract(ActionStatistics(-Q99, Q99, np.array([True] * 6 + [False])))
BINS = np.arange(56).reshape(8, 7) * 4
TEXTS = {
    "multi": compose_answer(np.arange(100) % 128, [[0, 255], [9, 100]], BINS, "multi"),
    "single": compose_answer(np.arange(100)[::-1], [[7, 8]], BINS[::-1], "single"),
}


@lru_cache
def tokenizer(name: str) -> MolmoActTokenizer:
    return build_nano_tokenizer() if name == "nano" else stand_in_tokenizer(152064)


def check(text: str) -> None:
    try:
        thought = parse_answer(text, CONTRACT)
    except ThoughtRefused as refusal:
        assert refusal.text == text, "the text is kept for diagnosis"
        assert len(refusal.reason) > 20
        return
    assert thought.depth is not None and thought.depth.shape == (10, 10)
    assert thought.depth.max() <= 127
    assert 1 <= len(thought.trace) <= 5 and thought.trace.shape[1] == 2
    assert thought.trace.min() >= 0 and thought.trace.max() <= 255
    assert thought.actions.shape == (8, 7)
    assert (np.abs(thought.actions) <= Q99 + 1e-6).all()


@pytest.mark.parametrize("vocabulary", ["nano", "7b-d"])
@pytest.mark.parametrize("wording", sorted(TEXTS))
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_corrupted_tokens_never_give_a_thought_of_another_shape(
    vocabulary: str, wording: str, data: st.DataObject
) -> None:
    """Dropped, doubled, replaced, swapped and cut tokens, in vocabularies that spell an action
    symbol in one token and in several: the byte in the middle of a symbol is hit as well.
    """
    words = tokenizer(vocabulary)
    ids = words.encode(TEXTS[wording])
    start = words.ids.depth_start
    usual = st.sampled_from([*ids, start, start + 1, words.ids.eos, *range(start + 2, start + 130)])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(ids) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "replace", "insert", "swap", "cut"]))
        if kind == "drop":
            del ids[place : place + data.draw(st.integers(1, 9))]
        elif kind == "double":
            ids[place:place] = ids[place : place + data.draw(st.integers(1, 9))]
        elif kind == "replace":
            ids[place] = data.draw(usual)
        elif kind == "insert":
            ids.insert(place, data.draw(usual))
        elif kind == "swap":
            other = data.draw(st.integers(0, len(ids) - 1))
            ids[place], ids[other] = ids[other], ids[place]
        else:
            ids = ids[:place]
        if not ids:
            break
    check(words.decode(ids))


@pytest.mark.parametrize("vocabulary", ["nano", "7b-d"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_random_tokens_are_refused(vocabulary: str, data: st.DataObject) -> None:
    words = tokenizer(vocabulary)
    known = [i for i in range(3000) if i < words.vocab_size]
    start = words.ids.depth_start
    ids = st.lists(st.sampled_from([*known, *range(start, start + 130)]), max_size=300)
    with pytest.raises(ThoughtRefused):
        parse_answer(words.decode(data.draw(ids)), CONTRACT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("<DEPTH_5>", "", 1), "depth"),
        (lambda t: t.replace("<DEPTH_5>", "<DEPTH_5><DEPTH_5>", 1), "depth"),
        (lambda t: t.replace("[0, 255]", "[0, 256]"), "outside the 0..255"),
        (lambda t: t.replace("[0, 255]", "[0, -1]"), "trace"),
        (lambda t: t[: t.rindex("]]")], "cut off"),
        (lambda t: t[: t.index("<DEPTH_END>")], "cut off"),
        (lambda t: t[: t.rindex("], [")] + "]].", "7 action rows instead of 8"),
        (lambda t: t[: t.rindex(", ")] + "]].", "6 entries instead of 7"),
        (lambda t: t[: t.rindex(", ")] + ", hello]].", "none of the 256 action symbols"),
    ],
)
def test_each_kind_of_damage_is_refused_by_name(change, words: str) -> None:
    damaged = change(TEXTS["multi"])
    assert damaged != TEXTS["multi"]
    with pytest.raises(ThoughtRefused) as caught:
        parse_answer(damaged, CONTRACT)
    assert words in caught.value.reason
    assert caught.value.text == damaged
