"""A vocabulary of our own: 1,536 tokens that spell any text, short for what MolmoAct writes.

Byte-level BPE trained here on the project's own sentences, so it carries nobody's data. A number
0..255, a separator and an action symbol are one token each: an 8x7 chunk takes 112 tokens instead
of about 270 in the vocabulary of 7B-D.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from molmoact_ros.model.tokenizer import EOS, MolmoActTokenizer, add_molmoact_tokens, spelling
from molmoact_ros.reasoning.prompts import ANSWERS, R1, RN, S1, SN, chat_text
from molmoact_ros.reasoning.symbols import SYMBOLS

VOCAB_SIZE = 1536
_BPE_SIZE = 1024
_PIECES = r"\], \[|, |\[\[|\]\]|\p{N}{1,3}| ?\p{L}+| ?[^\s\p{L}\p{N}\[\],]+|[\[\],]|\s+(?!\S)|\s+"
"""List punctuation, numbers of up to three digits, words and other signs with their blank."""

_WORDS = """
a an and at away back beside between block blue bottom bowl box brown button can close cloth corner
cube cup down drawer drop edge fold from front gently get give grasp green gripper hand in inside
into it knife large lay left lid lift line little mark middle move mug near next off of on one onto
open orange out over pan pen pick pink place plate point pot pour press pull push put red release
right rim robot round shelf side slide small spoon stack stop table take that the then three to top
touch towards towel turn two under up upright white with wipe yellow your
"""


def build_nano_tokenizer(phrases: bool = False) -> MolmoActTokenizer:
    """Train the vocabulary (well under a second); the same every time.

    phrases: the fixed wording between the variable parts of questions and answers is one token a
    piece, so that a prompt of 120 tokens takes 12: nothing about it has to be learned or computed.
    """
    fixed = fixed_phrases() if phrases else ()
    learned = json.loads(learn_pieces().to_str())["model"]
    vocabulary: dict[str, int] = learned["vocab"]
    for symbol in SYMBOLS:
        vocabulary[spelling(symbol.encode())] = len(vocabulary)
    for phrase in fixed:
        vocabulary[spelling(phrase.encode())] = len(vocabulary)
    merges = [tuple(pair) for pair in learned["merges"]]
    # ignore_merges takes a whole piece from the vocabulary when it is there: action symbols are.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    symbols = "|".join(sorted(SYMBOLS, key=len, reverse=True))
    known = [f"{re.escape(phrase)}|" for phrase in sorted(fixed, key=len, reverse=True)]
    tokenizer.pre_tokenizer = _pieces(f"{''.join(known)}{symbols}|{_PIECES}")
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(EOS, normalized=False, special=True)])
    add_molmoact_tokens(tokenizer, VOCAB_SIZE)
    return MolmoActTokenizer(tokenizer, VOCAB_SIZE, "nano tokenizer")


def fixed_phrases() -> tuple[str, ...]:
    """The wording around instruction, depth, trace and actions, longer than a word."""
    texts = [chat_text(template) for template in (R1, RN, S1, SN)]
    # Answers may leave the depth sentence out.
    answers = [(answer, answer.partition("{depth}. ")[2]) for answer in ANSWERS.values()]
    texts += [f" {text}" for pair in answers for text in pair if text]
    found = [part for text in texts for part in re.split(r"\{\w+\}", text)]
    return tuple(dict.fromkeys(part for part in found if len(part) > 8))


def learn_pieces() -> Tokenizer:
    """Byte-level BPE of the project's own sentences, without special tokens."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = _pieces(_PIECES)
    trainer = trainers.BpeTrainer(
        vocab_size=_BPE_SIZE,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(_corpus(), trainer)
    return trained


def _pieces(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _corpus() -> Iterator[str]:
    words = _WORDS.split()
    for template in (R1, RN, S1, SN):
        for word in words:
            yield chat_text(template.replace("{task}", word))
    for answer in ANSWERS.values():
        yield answer.replace("{", " ").replace("}", " ")
    for number in range(256):
        yield from [f"{number}"] * 1000
    yield from ["], [", ", ", "[[", "]]", "Image"] * 1000
