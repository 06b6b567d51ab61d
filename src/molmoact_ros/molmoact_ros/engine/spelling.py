"""How a vocabulary spells the values of an answer: all of them as one tree of tokens.

A value ("140", an action symbol) is spelled together with what surrounds it, because a token may
hold the blank before it or the comma behind it. Only canonical spellings are listed: they are
guesses, and a model that spells differently merely gains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.engine.automaton import DEAD, Label
from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.reasoning.symbols import SYMBOLS

NUMBERS = tuple(str(value) for value in range(256))

FOLLOWERS = (", ", "], [", "]]", "].")
"""What may stand behind a value. The last two end the list."""

Ranked = list[tuple[int, float]]
"""Tokens with their share of the weight, heaviest first."""


@dataclass
class SpellingTree:
    """Spellings of (value, follower) pairs. Node 0 is the beginning.

    children: per node token -> node. ends: follower indices that are possible here at all.
    """

    ends: tuple[int, ...]
    children: list[dict[int, int]] = field(default_factory=lambda: [{}])
    _nodes: list[int] = field(default_factory=list)
    _pairs: list[int] = field(default_factory=list)
    _ranks: dict[object, _Weighted] = field(default_factory=dict)

    def add(self, pair: int, tokens: Sequence[int]) -> None:
        """Enter the spelling of pair = value * len(ends) + index of the follower in ``ends``."""
        node = 0
        for token in tokens:
            following = self.children[node].get(token)
            if following is None:
                following = len(self.children)
                self.children[node][token] = following
                self.children.append({})
            node = following
            self._nodes.append(node)
            self._pairs.append(pair)

    def ranked(self, node: int, key: object, weights: NDArray[np.float64]) -> Ranked:
        """Tokens behind ``node`` for weights [256, len(ends)], which ``key`` stands for."""
        if key not in self._ranks:
            if len(self._ranks) > 1024:
                self._ranks.clear()
            mass = np.zeros(len(self.children))
            np.add.at(mass, self._nodes, weights.reshape(-1)[self._pairs])
            mass[0] = weights.sum()
            self._ranks[key] = _Weighted(mass)
        return self._ranks[key].behind(node, self.children[node])


@dataclass
class _Weighted:
    mass: NDArray[np.float64]
    known: dict[int, Ranked] = field(default_factory=dict)

    def behind(self, node: int, children: dict[int, int]) -> Ranked:
        if node not in self.known:
            whole = max(float(self.mass[node]), 1e-30)
            ranked = [(token, float(self.mass[child]) / whole) for token, child in children.items()]
            self.known[node] = sorted(ranked, key=lambda item: -item[1])
        return self.known[node]


class Speller:
    """Finds and remembers the spelling tree for a place in an answer."""

    def __init__(
        self,
        tokenizer: MolmoActTokenizer,
        grammar: AnswerGrammar,
        bytes_of: Sequence[bytes | None],
    ) -> None:
        self._tokenizer = tokenizer
        self._grammar = grammar
        self._bytes_of = bytes_of
        self._trees: dict[tuple[str, str, int, tuple[str, ...]], SpellingTree] = {}
        self._places: dict[tuple[int, int], tuple[Label, SpellingTree] | None] = {}

    def at(self, state: int, last: int) -> tuple[Label, SpellingTree] | None:
        """Label and tree for a value that is written next in ``state``, behind token ``last``;
        None where no number or symbol comes next.
        """
        if (state, last) not in self._places:
            self._places[state, last] = self._find(state, last)
        return self._places[state, last]

    def rows(self, state: int, last: int, rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """Tokens of action rows (bins) that are written first in ``state``, behind ``last``, and
        the first token of what separates them from the next row. Raises ValueError when they do
        not fit there: another width, or no row left to the model.
        """
        text = "], [".join(", ".join(SYMBOLS[number] for number in row) for row in rows)
        before = (self._bytes_of[last] or b"").decode(errors="ignore")
        follower = self._followed(state, before, text, "], [")
        if follower is None:
            raise ValueError(
                f"{len(rows)} rows of {len(rows[0])} numbers cannot begin this answer; give fewer "
                "rows than a chunk has, each as long as an action"
            )
        return tuple(self._spell(before, text, follower))

    def _find(self, state: int, last: int) -> tuple[Label, SpellingTree] | None:
        forced, behind = self._grammar.run(state)
        label = self._grammar.label(behind)
        if label is None or label[0] == "depth":
            return None
        try:
            lead = forced.decode()
        except UnicodeDecodeError:
            return None  # the last token ended in the middle of a character
        values = SYMBOLS if label[0] == "action" else NUMBERS
        before = (self._bytes_of[last] or b"").decode(errors="ignore")
        found = [self._followed(state, before, lead + values[0], f) for f in FOLLOWERS]
        texts = tuple(text or "" for text in found)
        ends = tuple(index for index, text in enumerate(texts) if text)
        key = (label[0], lead, last, texts)
        if key not in self._trees:
            tree = SpellingTree(ends)
            for value, text in enumerate(values):
                for index, end in enumerate(ends):
                    tokens = self._spell(before, lead + text, texts[end])
                    tree.add(value * len(ends) + index, tokens)
            self._trees[key] = tree
        return label, self._trees[key]

    def _followed(self, state: int, before: str, text: str, follower: str) -> str | None:
        """The follower with the certain text behind it, or None when it cannot follow."""
        for token in self._behind(before, text + follower):
            state = self._grammar.follow(state, token)
            if state == DEAD:
                return None
        return follower + self._grammar.run(state)[0].decode(errors="ignore")[:24]

    def _spell(self, before: str, text: str, follower: str) -> list[int]:
        """Tokens of ``text`` and the first one that reaches beyond it."""
        wanted, tokens, length = len(text.encode()), [], 0
        for token in self._behind(before, text + follower):
            tokens.append(token)
            length += len(self._bytes_of[token] or b"")
            if length > wanted:
                break
        return tokens

    def _behind(self, before: str, text: str) -> list[int]:
        """Canonical tokens of ``text`` behind ``before``; all of it when they do not separate."""
        first = self._tokenizer.encode(before)
        whole = self._tokenizer.encode(before + text)
        return whole[len(first) :] if whole[: len(first)] == first else self._tokenizer.encode(text)
