"""Walks an answer beside the decode loop and guesses how it goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.engine.automaton import DEAD, Label
from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.reader import AnswerReader
from molmoact_ros.engine.spelling import Ranked, Speller, SpellingTree
from molmoact_ros.model.tokenizer import SpecialIds

Rows = tuple[tuple[int, ...], ...]
"""Bins 0..255 of action rows."""

_OPENING: Label = ("action", 0, 0)
_TAIL = 8
_SURE = 0.999


@dataclass(frozen=True)
class Place:
    """Where an answer stands. certain: tokens that must follow; bound: they were given by the
    caller and hold in every mode. label, tree and node: the value that is being written.
    """

    state: int
    tail: tuple[int, ...] = ()
    certain: tuple[int, ...] = ()
    label: Label | None = None
    tree: SpellingTree | None = None
    node: int = 0
    bound: bool = False


class Guide:
    """The grammar, and one robot's memory, as guesses for the next tokens.

    first_rows: bins of action rows the answer has to begin with, see ``prefixed``.
    """

    def __init__(
        self,
        grammar: AnswerGrammar,
        speller: Speller,
        ids: SpecialIds,
        first_rows: Rows = (),
    ) -> None:
        self._grammar = grammar
        self._speller = speller
        self._ids = ids
        self._first_rows = first_rows

    def prefixed(self, rows: Rows) -> Guide:
        """The same guide for an answer whose first action rows are given: those the robot will
        have driven by the time the answer is there. The model continues from them, so that the
        new chunk joins the old one without a seam.
        """
        return Guide(self._grammar, self._speller, self._ids, rows)

    def start(self) -> Place:
        return self._settle(self._grammar.start, ())

    def done(self, place: Place) -> bool:
        """The answer is complete, its end-of-text token included."""
        return self._grammar.done(place.state)

    def step(self, place: Place, token: int) -> Place | None:
        """The place behind ``token``, or None where no answer goes on like this."""
        state = self._grammar.follow(place.state, token)
        if state == DEAD:
            return None
        tail = (*place.tail, token)[-_TAIL:]
        certain = place.certain[1:] if place.certain[:1] == (token,) else ()
        if certain and place.bound:
            return Place(state, tail, certain, bound=True)
        node = place.tree.children[place.node].get(token) if place.tree is not None else None
        if node is not None and place.tree is not None and place.tree.children[node]:
            certain = certain or tuple(self._grammar.forced(state, tail))
            return Place(state, tail, certain, place.label, place.tree, node)
        if certain:
            return Place(state, tail, certain)
        return self._settle(state, tail)

    def guesses(self, place: Place, memory: DraftMemory, so_far: AnswerReader) -> Ranked:
        """Likely next tokens with probabilities, likeliest first; empty where there is no idea."""
        if place.certain:
            return [(place.certain[0], _SURE)]
        if place.tree is not None and place.label is not None:
            key, weights = memory.value(place.label, so_far)
            ends = memory.ends(place.label, len(place.tree.ends))
            pairs = weights[:, None] * np.array(ends)
            return place.tree.ranked(place.node, (key, ends), pairs)
        label = self._grammar.label(place.state)
        if label is not None and label[0] == "depth":
            code, share = memory.next_depth(label[1])
            token = self._ids.depth_end if code is None else self._ids.depth_code + code
            return [(token, share)] if share > 0 else []
        return []

    def _settle(self, state: int, tail: tuple[int, ...]) -> Place:
        if self._first_rows and tail and self._grammar.label(state) == _OPENING:
            given = self._speller.rows(state, tail[-1], self._first_rows)
            return Place(state, tail, given, bound=True)
        certain = tuple(self._grammar.forced(state, tail))
        if certain or not tail:
            return Place(state, tail, certain)
        found = self._speller.at(state, tail[-1])
        if found is None:
            return Place(state, tail)
        return Place(state, tail, (), found[0], found[1], 0)
