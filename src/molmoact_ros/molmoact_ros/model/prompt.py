"""One prompt as token ids: BOS, picture tokens, wrapped question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.model.tokenizer import MolmoActTokenizer, SpecialIds


def image_ids(
    ids: SpecialIds, kinds: Sequence[NDArray[np.int8]], words: Sequence[Sequence[int]] | None
) -> list[int]:
    """Tokens of all pictures. kinds: per picture, see ``tiling``; words: per picture the tokens of
    "Image k" that precede it in multi-image prompts, or None for a picture given alone.
    """
    names = np.array([ids.im_start, ids.im_patch, ids.im_col, ids.im_end])
    out: list[int] = []
    for number, picture in enumerate(kinds):
        if words is not None:
            out += words[number]
        out += names[picture].tolist()
    return out


def prompt_ids(
    tokenizer: MolmoActTokenizer, chat_text: str, kinds: Sequence[NDArray[np.int8]], *, multi: bool
) -> list[int]:
    """The whole sequence the model reads before it answers.

    chat_text: the question in chat form (``reasoning.prompts.chat_text``); the end-of-text id
    doubles as BOS. ``multi`` writes "Image 1", "Image 2", ... before the pictures.
    """
    words = None
    if multi:
        words = [tokenizer.encode(f"Image {k + 1}") for k in range(len(kinds))]
    pictures = image_ids(tokenizer.ids, kinds, words)
    return [tokenizer.ids.eos, *pictures, *tokenizer.encode(chat_text)]


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Rows of different length to ids [B, S] and attention mask [B, S] (0 = padding)."""
    length = max(len(row) for row in rows)
    ids = np.full((len(rows), length), pad, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int8)
    for line, row in enumerate(rows):
        ids[line, length - len(row) :] = row
        mask[line, length - len(row) :] = 1
    return ids, mask
