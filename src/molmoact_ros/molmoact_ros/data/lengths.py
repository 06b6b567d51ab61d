"""How many tokens a sample of this data has: a sequence beyond the limit ends a training run."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.finding import FAIL, OK, Finding
from molmoact_ros.geometry import Floats
from molmoact_ros.model.config import load_config, read_json
from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import settings_from_dict
from molmoact_ros.model.presets import released_d
from molmoact_ros.model.stand_in_tokenizer import stand_in_tokenizer
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.prompts import chat_text
from molmoact_ros.train.recipe import Recipe
from molmoact_ros.train.samples import asked, tokenised

LIMIT = Recipe().limit
MOST = 1000
"""Rows that are counted."""
_PREPROCESSOR = "preprocessor_config.json"


def check_lengths(data: DataSet, base: Path | None = None, limit: int = LIMIT) -> Finding:
    """The 99.9th percentile must fit the recipe's limit (spec/data.md, section 12).

    base: checkpoint whose vocabulary and picture settings count; None: a vocabulary built like
    that of 7B-D (a symbol takes as many tokens) and its pictures.
    """
    lengths = token_lengths(data, base)
    half, most, nearly, longest = np.quantile(lengths, (0.5, 0.99, 0.999, 1.0))
    whose = base.name if base else "a vocabulary like that of 7B-D"
    words = (
        f"half of the samples have up to {half:.0f} tokens, 99 % {most:.0f}, 99.9 % {nearly:.0f}, "
        f"the longest {longest:.0f} of {limit} ({whose})"
    )
    if nearly > limit:
        return Finding(FAIL, "lengths", f"{words}: use fewer cameras or a shorter chunk")
    return Finding(OK, "lengths", words)


def token_lengths(data: DataSet, base: Path | None = None) -> Floats:
    """Tokens of the longest kind of sample, of up to 1000 rows evenly out of all."""
    tokenizer, processor = _reading(base)
    numbers = np.linspace(0, len(data) - 1, min(len(data), MOST)).astype(int)
    first = data.tick(int(numbers[0]))
    made = asked(first, data.card, "act")
    whole = tokenised(made, tokenizer, processor, 1 << 30)
    # All pictures have the card's size, so they take as many tokens in every row.
    pictures = whole.answer - len(tokenizer.encode(chat_text(made.question)))
    found = []
    for number in numbers:
        tick = data.again(int(number), first.pictures)
        made = asked(tick, data.card, "act" if tick.trace is None else "reason")
        words = len(tokenizer.encode(chat_text(made.question)))
        found.append(pictures + words + len(tokenizer.encode(made.answer)) + 1)
    return np.array(found, dtype=np.float64)


@lru_cache(maxsize=1)
def _reading(base: Path | None) -> tuple[MolmoActTokenizer, ImageProcessor]:
    if base is None:
        preset = released_d()
        tokenizer = stand_in_tokenizer(preset.config.llm.vocab_size)
        return tokenizer, ImageProcessor(preset.settings)
    config = load_config(base)
    path = base / _PREPROCESSOR
    settings = settings_from_dict(read_json(path), config.vit, str(path))
    return MolmoActTokenizer.load(base, config.llm.vocab_size), ImageProcessor(settings)
