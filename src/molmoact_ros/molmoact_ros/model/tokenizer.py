"""Text to token ids and back, with the special ids of the checkpoint proven at load.

The order of special tokens is the same in every MolmoAct vocabulary: depth start, depth end and
the 128 depth codes in a row below ``vocab_size``, six image tokens in a row from ``vocab_size``
on. 7B-D and 7B-O are checked against their published numbers as well, because a shifted table
still produces fluent text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from molmoact_ros.model.config import CheckpointError
from molmoact_ros.reasoning.depth_text import CODES, DEPTH_END, DEPTH_START

EOS = "<|endoftext|>"
PAD = "<|pad|>"
DEPTH_TOKENS = (DEPTH_START, DEPTH_END, *(f"<DEPTH_{code}>" for code in range(CODES)))
IMAGE_TOKENS = ("<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<|image|>", "<im_low>")

_RELEASED = {152064: ("7B-D", 151643, 151665), 100864: ("7B-O", 100257, 100278)}
"""vocab_size -> model, id of EOS, id of DEPTH_START (paper's vocabularies, extended)."""


@dataclass(frozen=True)
class SpecialIds:
    """Token ids with a meaning. ``depth_code`` is the id of code 0; the others follow it."""

    eos: int
    pad: int
    depth_start: int
    depth_end: int
    depth_code: int
    im_start: int
    im_end: int
    im_patch: int
    im_col: int


def add_molmoact_tokens(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Give a base vocabulary MolmoAct's tokens; ids are filled up to ``vocab_size``.

    Depth tokens are ordinary (they survive decoding), fillers and image tokens special.
    Raises ValueError when the base leaves no room for the depth tokens.
    """
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in DEPTH_TOKENS])
    used = tokenizer.get_vocab_size()
    if used > vocab_size:
        raise ValueError(
            f"the vocabulary holds {used} tokens, more than vocab_size {vocab_size}; "
            "choose a larger vocab_size"
        )
    fillers = [f"|<EXTRA_TOKENS_{i}>|" for i in range(vocab_size - used)]
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text in (*fillers, *IMAGE_TOKENS)]
    )


class MolmoActTokenizer:
    """A checkpoint's vocabulary. Raises CheckpointError when its special ids are wrong."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, where: str = "tokenizer") -> None:
        self._tokenizer = tokenizer
        # A control token typed by a user must stay text: it must not become an image token.
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.vocab_size = vocab_size
        self.ids = _verified(tokenizer, vocab_size, where)

    @classmethod
    def load(cls, folder: Path, vocab_size: int) -> MolmoActTokenizer:
        """From tokenizer.json in a checkpoint folder."""
        path = folder / "tokenizer.json"
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            raise CheckpointError(
                f"{path}: missing or unreadable; the checkpoint folder needs it, download it again"
            ) from None
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise CheckpointError(
                f"{path}: not a tokenizer file ({error}); download it again"
            ) from None
        return cls(tokenizer, vocab_size, str(path))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json."""
        self._tokenizer.save(str(folder / "tokenizer.json"))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: no BOS; depth marks become their tokens, special tokens do not."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of an answer: special tokens skipped, blanks left alone."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def last_piece(self, text: str) -> int:
        """Characters of ``text`` before its last pre-token: up to here more text changes no id."""
        pieces = self._tokenizer.pre_tokenizer.pre_tokenize_str(text)
        return int(pieces[-1][1][0]) if pieces else 0

    def token_bytes(self) -> list[bytes | None]:
        """What every id below ``vocab_size`` spells; None for special, depth and unused ids."""
        table: list[bytes | None] = [None] * self.vocab_size
        for token, index in self._tokenizer.get_vocab(with_added_tokens=False).items():
            if index < self.vocab_size:
                table[index] = spelling_bytes(token)
        for index, added in self._tokenizer.get_added_tokens_decoder().items():
            if index < self.vocab_size:
                plain = not added.special and added.content not in DEPTH_TOKENS
                table[index] = spelling_bytes(added.content) if plain else None
        return table


def spelling(data: bytes) -> str:
    """Bytes as byte-level BPE writes them in its vocabulary."""
    return "".join(_CHAR_OF[byte] for byte in data)


def spelling_bytes(token: str) -> bytes:
    """Bytes behind a byte-level BPE spelling; any other character stands for its own UTF-8."""
    return b"".join(
        bytes([_BYTE_OF[char]]) if char in _BYTE_OF else char.encode() for char in token
    )


def _byte_of() -> dict[str, int]:
    """The byte-level alphabet (GPT-2) backwards: printable character to byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + i): byte for i, byte in enumerate(hidden)}


_BYTE_OF = _byte_of()
_CHAR_OF = {byte: char for char, byte in _BYTE_OF.items()}


def _verified(tokenizer: Tokenizer, vocab_size: int, where: str) -> SpecialIds:
    eos, depth = tokenizer.token_to_id(EOS), tokenizer.token_to_id(DEPTH_START)
    if eos is None or depth is None:
        raise CheckpointError(
            f"{where}: {EOS} or {DEPTH_START} is not in the vocabulary; this is no MolmoAct "
            "tokenizer, take tokenizer.json from the checkpoint itself"
        )
    _expect_run(tokenizer, DEPTH_TOKENS, depth, where)
    _expect_run(tokenizer, IMAGE_TOKENS, vocab_size, where)
    if depth + len(DEPTH_TOKENS) > vocab_size:
        raise CheckpointError(
            f"{where}: depth tokens end at {depth + len(DEPTH_TOKENS) - 1}, beyond vocab_size "
            f"{vocab_size}; take config.json and tokenizer.json from the same checkpoint"
        )
    if vocab_size in _RELEASED:
        name, known_eos, known_depth = _RELEASED[vocab_size]
        if (eos, depth) != (known_eos, known_depth):
            raise CheckpointError(
                f"{where}: {EOS} is {eos} and {DEPTH_START} is {depth}, but {name} was trained "
                f"with {known_eos} and {known_depth}; the base vocabulary is another one"
            )
    pad = tokenizer.token_to_id(PAD)
    return SpecialIds(
        eos, eos if pad is None else pad, depth, depth + 1, depth + 2,
        vocab_size, vocab_size + 1, vocab_size + 2, vocab_size + 3,
    )  # fmt: skip


def _expect_run(tokenizer: Tokenizer, texts: Sequence[str], first: int, where: str) -> None:
    for offset, text in enumerate(texts):
        found = tokenizer.token_to_id(text)
        if found != first + offset:
            raise CheckpointError(
                f"{where}: {text} has id {found}, expected {first + offset}; take tokenizer.json "
                "and config.json from the same checkpoint"
            )
