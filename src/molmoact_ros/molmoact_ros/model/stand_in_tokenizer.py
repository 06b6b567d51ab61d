"""A vocabulary with the ids of a released one, for random weights of released size.

The true vocabularies are not ours to ship. What an engine needs from them is that every special
id lies where it should, that any text can be spelled, and that no action symbol is one token:
here as in the vocabulary of 7B-D it takes two to four, one a character.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models

from molmoact_ros.model.config import CheckpointError
from molmoact_ros.model.nano_tokenizer import learn_pieces
from molmoact_ros.model.tokenizer import (
    EOS,
    PAD,
    MolmoActTokenizer,
    add_molmoact_tokens,
    spelling,
)
from molmoact_ros.reasoning.symbols import SYMBOLS

_BASE = {152064: (151643, 151665), 100864: (100257, 100278)}
"""vocab_size -> id of EOS, first id of MolmoAct's own tokens (7B-D, 7B-O)."""

_MOST_MISSING = 2000
"""Tokens a released base vocabulary may be short of; Qwen2.5 lacks 399, dolma2 586."""


def stand_in_tokenizer(vocab_size: int) -> MolmoActTokenizer:
    """Built here in about a second, the same every time. Raises CheckpointError for a size that
    belongs to no released model.
    """
    if vocab_size not in _BASE:
        raise CheckpointError(
            f"no released vocabulary has {vocab_size} entries; use one of {sorted(_BASE)}"
        )
    eos, first = _BASE[vocab_size]
    trained = learn_pieces()
    learned = json.loads(trained.to_str())["model"]
    vocabulary: dict[str, int] = learned["vocab"]
    merges = [tuple(pair) for pair in learned["merges"]]
    for character in sorted(set("".join(SYMBOLS))):
        pair = tuple(spelling(bytes([byte])) for byte in character.encode())
        vocabulary["".join(pair)] = len(vocabulary)
        merges.append(pair)
    for number in range(len(vocabulary), eos):
        vocabulary[f"\u0120<unused {number}>"] = number
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    # Behind the text come EOS, other control tokens and, in 7B-O, the padding as the last one.
    control = [EOS, *(f"<|unused_{n}|>" for n in range(eos + 1, first))]
    if vocab_size == 100864:
        control[-1] = PAD
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text in control]
    )
    add_molmoact_tokens(tokenizer, vocab_size)
    return MolmoActTokenizer(tokenizer, vocab_size, "stand-in tokenizer")


def extended_tokenizer(path: Path, vocab_size: int) -> MolmoActTokenizer:
    """A base vocabulary (tokenizer.json of Qwen2.5 for 7B-D, of dolma2 for 7B-O) with MolmoAct's
    tokens. Raises CheckpointError when it is another one.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
        missing = vocab_size - tokenizer.get_vocab_size()
        if not 0 <= missing <= _MOST_MISSING:
            raise ValueError(f"it holds {tokenizer.get_vocab_size()} tokens for {vocab_size}")
        add_molmoact_tokens(tokenizer, vocab_size)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise CheckpointError(
            f"{path}: not the base vocabulary of this model ({error}); give its tokenizer.json"
        ) from None
    return MolmoActTokenizer(tokenizer, vocab_size, str(path))
