"""Prompts and answers become exactly the ids of 7B-D and 7B-O. One shifted id makes nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from molmoact_ros.model.config import CheckpointError
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import ImageSettings
from molmoact_ros.model.prompt import pad_left, prompt_ids
from molmoact_ros.model.tokenizer import MolmoActTokenizer

FOLDER = Path(__file__).resolve().parents[1] / "golden/tokens"
CASES = json.loads((FOLDER / "cases.json").read_text())
PROMPTS = sorted(name for name, case in CASES.items() if "question" in case)
ANSWERS = sorted(name for name in CASES if "_answer_" in name)
SETTINGS = {"D": ImageSettings("siglip", 378), "O": ImageSettings("default", 336)}

Released = Callable[[str], MolmoActTokenizer]


def _prompt(tokenizer: MolmoActTokenizer, family: str, text: str, sizes: list, multi: bool):
    pictures = [np.zeros((height, width, 3), np.uint8) for width, height in sizes]
    kinds = ImageProcessor(SETTINGS[family])(pictures, multi=multi).kinds
    return prompt_ids(tokenizer, text, kinds, multi=multi)


@pytest.mark.parametrize("name", PROMPTS)
def test_prompt_with_pictures(name: str, released_tokenizer: Released) -> None:
    case, family = CASES[name], name[0]
    ids = _prompt(
        released_tokenizer(family), family, case["chat_text"], case["image_sizes"],
        case["nested_list"],
    )  # fmt: skip
    assert len(ids) == case["n_tokens"]
    assert ids == np.load(FOLDER / f"{name}.npz")["input_ids"].tolist()


@pytest.mark.parametrize("family", ["D", "O"])
def test_prompts_of_different_length_are_padded_on_the_left(
    family: str, released_tokenizer: Released
) -> None:
    case, tokenizer = CASES[f"{family}_batch"], released_tokenizer(family)
    rows = [
        _prompt(tokenizer, family, text, [size], False)
        for text, size in zip(case["chat_text"], case["image_sizes"], strict=True)
    ]
    ids, mask = pad_left(rows, tokenizer.ids.pad)
    expected = np.load(FOLDER / f"{family}_batch.npz")
    assert np.array_equal(mask, expected["attention_mask"])
    assert np.array_equal(ids, expected["input_ids"])


@pytest.mark.parametrize("family", ["D", "O"])
def test_text_without_pictures(family: str, released_tokenizer: Released) -> None:
    text = CASES[f"{family}_text_only"]["chat_text"]
    ids = prompt_ids(released_tokenizer(family), text, [], multi=False)
    assert ids == np.load(FOLDER / f"{family}_text_only.npz")["input_ids"].tolist()


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_encode_and_decode_without_loss(name: str, released_tokenizer: Released) -> None:
    tokenizer, case = released_tokenizer(name[0]), CASES[name]
    assert tokenizer.encode(case["text"]) == case["ids"]
    assert tokenizer.decode(case["ids"]) == case["text"]


@pytest.mark.parametrize(
    ("family", "start", "code_127", "patch"),
    [("D", 151665, 151794, 152066), ("O", 100278, 100407, 100866)],
)
def test_special_ids_are_the_published_ones(
    family: str, start: int, code_127: int, patch: int, released_tokenizer: Released
) -> None:
    ids = released_tokenizer(family).ids
    assert (ids.depth_start, ids.depth_code + 127, ids.im_patch) == (start, code_127, patch)


def test_a_vocabulary_with_other_added_tokens_is_refused(nano_folder: Path) -> None:
    """Qwen3's vocabulary has four more added tokens: every depth code would be another one."""
    text = (nano_folder / "tokenizer.json").read_text()
    shifted = text.replace('"<DEPTH_7>"', '"<OTHER>"')
    with pytest.raises(CheckpointError, match="DEPTH_7.*same checkpoint"):
        MolmoActTokenizer(Tokenizer.from_str(shifted), 1536, "tokenizer.json")
    with pytest.raises(CheckpointError, match="im_start"):
        MolmoActTokenizer(Tokenizer.from_str(text), 1600, "tokenizer.json")
