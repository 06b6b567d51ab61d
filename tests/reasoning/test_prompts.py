"""The sentences belong to the weights: one changed blank makes a released checkpoint guess."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from molmoact_ros.reasoning import prompts
from molmoact_ros.reasoning.prompts import (
    ANSWERS,
    BadInstruction,
    chat_text,
    check_instruction,
    question,
)

DIGESTS = {
    prompts.R1: (386, "959002ec3d9a1f5a"),
    prompts.RN: (514, "6fbc46e8edc3b01a"),
    prompts.S1: (188, "d8197f504885de1f"),
    prompts.SN: (273, "8aceab53e4f8521c"),
    prompts.R1_NO_DEPTH: (309, "4291b739000ec409"),
    prompts.RN_NO_DEPTH: (426, "b52f076311c87689"),
    ANSWERS["multi"]: (268, "0ba4efc456608475"),
    ANSWERS["finetune"]: (221, "7aaaab2cd20152e8"),
    ANSWERS["steering"]: (119, "897e27280a8a6b7b"),
}


@pytest.mark.parametrize("sentence", DIGESTS)
def test_sentences_are_the_trained_ones(sentence: str) -> None:
    digest = hashlib.sha256(sentence.encode()).hexdigest()[:16]
    assert (len(sentence), digest) == DIGESTS[sentence]


def test_golden_questions(golden: Path) -> None:
    packaged = golden / "tokens/prompts.json"
    path = packaged if packaged.is_file() else golden / "tokens/cases.json"
    seen = 0
    for name, case in json.loads(path.read_text(encoding="utf-8")).items():
        if "question" not in case:
            continue
        task = re.match(r"The task is (.*?)\. ", case["question"])
        assert task is not None
        asked = question(task[1], len(case["image_sizes"]), steered="steer" in name)
        assert asked == case["question"]
        assert chat_text(asked) == case["chat_text"]
        seen += 1
    assert seen >= 8


def test_final_stop_and_blanks_are_dropped() -> None:
    """The template ends the sentence itself; "cube.." was never seen in training."""
    assert check_instruction("  pick up the cube. ") == "pick up the cube"
    assert question("pick up the cube.", 1) == question("pick up the cube", 1)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("", "empty"),
        (" . ", "empty"),
        ("pick {task}", "without braces"),
        ("pick <|endoftext|> up", "angle brackets"),
        ("pick\nup", "one plain line"),
        ("pick\u2028up", "one plain line"),
        ("pick\x00up", "one plain line"),
        ("x" * 301, "shorten"),
    ],
)
def test_unusable_instructions_say_what_to_change(instruction: str, message: str) -> None:
    """Braces and angle brackets could smuggle place-holders or control tokens into the prompt."""
    with pytest.raises(BadInstruction, match=message):
        question(instruction, 2)


def test_longest_instruction_is_accepted() -> None:
    assert "x" * 300 in question("x" * 300, 2)


def test_no_picture_no_question() -> None:
    with pytest.raises(ValueError, match="cameras"):
        question("pick up the cube", 0)
