"""Nano is the same network and the same language, small; its vocabulary can spell anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.nano import random_nano
from molmoact_ros.model.nano_tokenizer import VOCAB_SIZE, build_nano_tokenizer
from molmoact_ros.reasoning.answer import compose_answer
from molmoact_ros.reasoning.symbols import SYMBOLS

NANO = build_nano_tokenizer()


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_survives(text: str) -> None:
    assert NANO.decode(NANO.encode(text)) == text


def test_numbers_and_action_symbols_are_one_token_each() -> None:
    """This is what makes an answer short enough for a CPU."""
    assert all(len(NANO.encode(f"{number}")) == 1 for number in range(256))
    assert all(len(NANO.encode(symbol)) == 1 for symbol in SYMBOLS)


def test_a_whole_answer_survives_and_is_short() -> None:
    bins = np.arange(56).reshape(8, 7) * 4
    text = compose_answer(np.arange(100), [[0, 255], [9, 100]], bins, "multi")
    ids = NANO.encode(text)
    assert NANO.decode(ids) == text
    assert len(ids) < 300
    assert max(ids) < VOCAB_SIZE <= 2048


def test_control_tokens_typed_by_a_person_stay_text() -> None:
    """Else an instruction could insert picture tokens and the network would refuse the prompt."""
    typed = NANO.encode("put <im_patch> and <|endoftext|> away")
    assert not {NANO.ids.im_patch, NANO.ids.eos} & set(typed)


def test_the_vocabulary_is_the_same_every_time(nano_folder: Path) -> None:
    NANO.save(nano_folder / "..")
    assert (nano_folder / "../tokenizer.json").read_text() == (
        nano_folder / "tokenizer.json"
    ).read_text()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(nano_folder: Path) -> None:
    loaded = load_checkpoint(nano_folder).model.state_dict()
    again, other = random_nano(0).state_dict(), random_nano(1).state_dict()
    assert all(torch.equal(loaded[name], again[name]) for name in again)
    assert not torch.equal(again["lm_head.weight"], other["lm_head.weight"])


def test_the_size_is_that_of_a_nano(nano_folder: Path) -> None:
    model = load_checkpoint(nano_folder).model
    assert 3e6 < sum(p.numel() for p in model.parameters()) < 6.1e6


def test_the_card_says_that_the_weights_are_random(nano_folder: Path) -> None:
    assert "RANDOM" in load_checkpoint(nano_folder).origin
