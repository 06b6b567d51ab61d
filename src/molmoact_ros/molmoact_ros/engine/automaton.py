"""A regular language over letters, made deterministic while it is walked.

A letter is a byte 0..255 or a whole token (256 + its id), for tokens that are no text. States are
small integers; ``DEAD`` is not one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

TOKEN: Final = 256
"""Letter of token id t = TOKEN + t."""

DEAD: Final = -1
"""No text of the language begins like this."""

Word = tuple[int, ...]

Label = tuple[str, int, int]
"""What is written from a position on: ("depth", index, 0), ("trace", point, axis) or
("action", row, dimension)."""


@dataclass
class Builder:
    """Collects a non-deterministic automaton piece by piece: every method appends to an exit.

    Positions are integers; each has letters leading on and free moves. Methods take the position
    to start from and return the one behind the piece.
    """

    letters: list[dict[int, list[int]]] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)
    labels: dict[int, Label] = field(default_factory=dict)

    def position(self) -> int:
        """A new, unconnected position."""
        self.letters.append({})
        self.free.append([])
        return len(self.letters) - 1

    def word(self, start: int, word: Sequence[int]) -> int:
        """Exactly this sequence of letters."""
        for letter in word:
            end = self.position()
            self.letters[start].setdefault(letter, []).append(end)
            start = end
        return start

    def one_of(self, start: int, words: Iterable[Sequence[int]]) -> int:
        """One of several words, which may begin alike (shared prefixes share positions)."""
        end = self.position()
        known: dict[Word, int] = {(): start}
        for word in words:
            for length in range(1, len(word)):
                prefix = tuple(word[:length])
                if prefix not in known:
                    known[prefix] = self.position()
                    parent = known[prefix[:-1]]
                    self.letters[parent].setdefault(prefix[-1], []).append(known[prefix])
            last = known[tuple(word[:-1])]
            self.letters[last].setdefault(word[-1], []).append(end)
        return end

    def join(self, start: int, end: int) -> None:
        """A free move from ``start`` to ``end``."""
        self.free[start].append(end)

    def mark(self, position: int, label: Label) -> None:
        """A value begins here."""
        self.labels[position] = label

    def finish(self, start: int, end: int) -> Automaton:
        """The automaton whose texts lead from ``start`` to ``end``."""
        return Automaton(self, start, end)


class Automaton:
    """Deterministic view of a Builder. ``step`` and ``letters`` are cheap after the first visit."""

    def __init__(self, builder: Builder, start: int, end: int) -> None:
        self._builder = builder
        self._end = end
        self._sets: list[frozenset[int]] = []
        self._numbers: dict[frozenset[int], int] = {}
        self._moves: list[dict[int, int] | None] = []
        self._labels: dict[int, Label | None] = {}
        self.start = self._state({start})

    def letters(self, state: int) -> Mapping[int, int]:
        """Every letter that may come next, with the state behind it."""
        moves = self._moves[state]
        if moves is None:
            targets: dict[int, set[int]] = {}
            for position in self._sets[state]:
                for letter, ends in self._builder.letters[position].items():
                    targets.setdefault(letter, set()).update(ends)
            moves = {letter: self._state(ends) for letter, ends in targets.items()}
            self._moves[state] = moves
        return moves

    def step(self, state: int, letter: int) -> int:
        """The state behind ``letter``, or DEAD."""
        return self.letters(state).get(letter, DEAD)

    def walk(self, state: int, word: Iterable[int]) -> int:
        """The state behind all letters of ``word``, or DEAD."""
        for letter in word:
            state = self.letters(state).get(letter, DEAD)
            if state == DEAD:
                break
        return state

    def complete(self, state: int) -> bool:
        """Whether a text of the language may end here."""
        return self._end in self._sets[state]

    def label(self, state: int) -> Label | None:
        """The value that begins in this state."""
        if state not in self._labels:
            labels = self._builder.labels
            found = (labels[at] for at in sorted(self._sets[state]) if at in labels)
            self._labels[state] = next(found, None)
        return self._labels[state]

    def _state(self, positions: set[int]) -> int:
        closed, todo = set(positions), list(positions)
        while todo:
            for target in self._builder.free[todo.pop()]:
                if target not in closed:
                    closed.add(target)
                    todo.append(target)
        key = frozenset(closed)
        if key not in self._numbers:
            self._numbers[key] = len(self._sets)
            self._sets.append(key)
            self._moves.append(None)
        return self._numbers[key]
