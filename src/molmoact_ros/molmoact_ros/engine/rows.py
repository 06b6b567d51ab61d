"""The rows of one forward: tokens of a tree, laid out so that the likeliest path is the answer.

The first rows are the certain tokens that were not read yet, then the tree's trunk, then its side
branches. Row r is written to cache slot ``start + r``, so certain tokens and trunk stand where
they would without any guessing: slot = position. Side branches stand elsewhere; what they see is
right, but the order of a sum differs, and with it its last bits. Therefore only certain rows and
the trunk decide tokens; a side branch that turns out right becomes the next forward's trunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROOT = -1
"""Parent of a tree's first tokens: the last certain token."""


@dataclass
class TokenTree:
    """Guesses that begin behind the certain tokens. Nodes are numbered; a parent comes first.

    The first child a node was given is its likeliest: the path of first children is the trunk.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    _children: dict[int, dict[int, int]] = field(default_factory=dict)

    def add(self, parent: int, token: int, state: int) -> int:
        """A new node; ``state`` is the grammar's behind it."""
        self.tokens.append(token)
        self.parents.append(parent)
        self.states.append(state)
        node = len(self.tokens) - 1
        self._children.setdefault(parent, {})[token] = node
        return node

    def child(self, node: int, token: int) -> int | None:
        """The node of ``token`` behind ``node``."""
        return self._children.get(node, {}).get(token)

    def trunk(self) -> list[int]:
        """Nodes of the likeliest path."""
        path, node = [], ROOT
        while children := self._children.get(node):
            node = next(iter(children.values()))
            path.append(node)
        return path


@dataclass(frozen=True)
class Rows:
    """One forward. tokens, positions, parents (row or -1) and grammar states of R rows.

    start: position (and slot) of row 0. sees: bool [R, R], which rows a row may look at; everything
    before ``start`` is seen by all.
    """

    tokens: list[int]
    positions: list[int]
    states: list[int]
    start: int
    sees: NDArray[np.bool_]


@dataclass(frozen=True)
class Layout:
    """Rows and where the tree's nodes are among them."""

    rows: Rows
    row_of: list[int]
    trunk: frozenset[int]


def lay_out(unread: list[int], unread_states: list[int], tree: TokenTree, start: int) -> Layout:
    """Rows for certain tokens that were not read (at least one) and a tree behind them."""
    trunk = tree.trunk()
    members = frozenset(trunk)
    order = trunk + [node for node in range(len(tree.tokens)) if node not in members]
    known = len(unread)
    row_of = [0] * len(order)
    for offset, node in enumerate(order):
        row_of[node] = known + offset
    count = known + len(order)
    sees = np.zeros((count, count), dtype=bool)
    sees[:known, :known] = np.tri(known, dtype=bool)
    depth = [0] * count
    depth[:known] = range(known)
    for offset, node in enumerate(order):
        row = known + offset
        parent = known - 1 if tree.parents[node] == ROOT else row_of[tree.parents[node]]
        sees[row] = sees[parent]
        sees[row, row] = True
        depth[row] = depth[parent] + 1
    rows = Rows(
        unread + [tree.tokens[node] for node in order],
        [start + at for at in depth],
        unread_states + [tree.states[node] for node in order],
        start,
        sees,
    )
    return Layout(rows, row_of, members)
