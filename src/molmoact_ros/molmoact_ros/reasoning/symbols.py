"""The 256 action symbols: how the model spells one number of an action.

Bin ``b`` is written as the byte-level BPE spelling of entry 151642 - b of the Qwen2.5 base
vocabulary (MolmoAct paper, arXiv 2508.07917; its tables 5 and 6 show bins 0 and 255). The released
weights of every size use this same table, so it is a constant of the model and needs no tokenizer.
Each entry below is the token's bytes in hexadecimal; the symbol shows every byte as one printable
character of the byte-level alphabet.
"""

from __future__ import annotations

from typing import Final

# Hexadecimal, because an editor that normalises Unicode must not be able to change an action.
_BYTES: Final = """
e2bd97 e2ba9f e28da8 e195b7 efa88a e387bd e387ba e2bdba e292a0 e38aa5 e2bcad e2b0a1 e2b0a0
e2b09f e2b091 e2b090 e2b08e e2b08d e2b082 e292a1 e2929f e280b4 e294b2 f0938fa7 efa8b7 e388bc
e29eb6 e296a4 e2879e e286b7 e286a4 e1a5a4 e1a594 e185a3 e0ba82 efb18a eaa694 e389ab e38596
e384a7 e38493 e3848d e29fb0 e29dab e29daa e29b8f e29b87 e2958a e294bd e1b88a e1a48a e19b90
e19b85 e19a8c e199b3 e0a08c c688 f09f8593 f09f8585 f09d9a8f f09d9a84 f09d99bf f09d99bd f09d99bc
f09d99ba f09d99b8 f09d99b0 f09d99ae f09d989a f09d9890 f09d988f f09d9696 f09d95b1 f09d95a1
f09d958d f09d9493 f09d93be f09d93b9 f09d93ac f09d9395 f09d91b3 f096a5a8 f096a5 f090b185 f090ad8a
efadb2 efa5b1 efa5a0 efa4a6 ed93bb ed93b6 ed93ae ed93ac ed8b8d ecbc87 ec868a eba1bc eab382
eab2b4 eab299 e4b6b5 e388aa e2b2a2 e29aa3 e298b5 e2949e e1b8bb e1b883 e1a881 e1a084 e1948a
e19485 e1928c e190a7 e18c94 e18c84 e18ba9 e18a92 e189a8 e181bc e1808f e0b29f e0b0b5 e0b0b3
e0ac89 e0a5b1 e0a491 dda5 dd93 d491 d488 cab6 c8b2 f09f8f87 f09f85a2 f09d9a81 f09d999c f09d93b0
f09d939e f090b0bc f090ad93 f090a494 efa882 efa7a9 efa683 efa486 efa485 ed9b9c ed95b1 ed93ad
ed9396 ed8399 ed81bb ecbb81 ecb385 ec9cbe ec9ba2 ebb190 ebb18b eba7a0 eba482 eb96b0 e2a4a6
e2a1a2 e29a97 e29a82 e29999 e1bf9a e1bf90 e1be94 e1b68f e1a98b e1a8b8 e1a0ac e1a082 e194ad
e18cbd e18c83 e18990 e188be e188a8 e1888a e186ba e0bd85 e0b4b4 d583 ca93 c998 f09f958b f09f8692
f09f85b1 efae8f ed95ae ed8aad eca589 eca0b0 ec9f99 ec9dbf ec9da9 ec97a4 ec8fb1 ec8bb2 ec89a1
ec8490 ebbc9d ebbb85 ebaf91 eba191 eb978d eb9489 eab891 ea998b e3b3ac e29ba4 e29aa7 e284ac
e1bd9d e1bcae e1ba80 e1b8b0 e1a18c da8e d1a8 f09f9781 f09f96b6 f09f9691 f09f9687 f09f95b3
f09f95a2 f09f95a0 f09f959e f09f959d f09f959c f09f959a f09f9596 f09f94a9 f09f94a4 f09f94a2
f09f9493 f09f9487 f09f9483 f09f9482 f09f9480 f09f93bc f09f93aa f09f939f f09f92ba f09f92b9
f09f919d f09f9080 f09f8faf f09f8fa9 f09f8f92 f09f8f8f f09f8ebf f09f8e91
"""


def _byte_alphabet() -> dict[int, str]:
    """Byte -> printable character, as byte-level BPE (GPT-2) defines it.

    Printable Latin-1 characters stand for themselves; the 68 others take U+0100 and up, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in printable]
    alphabet = {byte: chr(byte) for byte in printable}
    alphabet.update({byte: chr(0x100 + i) for i, byte in enumerate(hidden)})
    return alphabet


_ALPHABET: Final = _byte_alphabet()

SYMBOLS: Final[tuple[str, ...]] = tuple(
    "".join(_ALPHABET[byte] for byte in bytes.fromhex(token)) for token in _BYTES.split()
)
"""The symbol of every bin, 0..255."""

_BINS: Final = {symbol: index for index, symbol in enumerate(SYMBOLS)}


def bin_of(symbol: str) -> int | None:
    """The bin 0..255 that ``symbol`` stands for, or None when it is not an action symbol."""
    return _BINS.get(symbol)
