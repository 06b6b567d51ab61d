"""Which guesses are worth a row: the likeliest paths first, until the forward is full."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

from molmoact_ros.engine.guide import Guide, Place
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.reader import AnswerReader
from molmoact_ros.engine.rows import ROOT, TokenTree
from molmoact_ros.engine.spelling import Ranked

_SEEN = 0.999
"""Probability of a token that a side branch of the last forward already decided."""


def plan_tree(
    guide: Guide,
    place: Place,
    seen: Sequence[int],
    memory: DraftMemory,
    so_far: AnswerReader,
    budget: int,
    least: float,
) -> TokenTree:
    """At most ``budget`` guesses behind ``place``, none less likely than ``least``.

    seen: tokens the model chose in a side branch; they come first, as the trunk.
    """
    tree, node, share = TokenTree(), ROOT, 1.0
    for token in seen[:budget]:
        following = guide.step(place, token)
        if following is None or guide.done(following):
            break
        place, share = following, share * _SEEN
        node = tree.add(node, token, place.state)
    order = count()
    heap: list[tuple[float, int, int, Place, Ranked, int]] = []

    def offer(at: int, here: Place, likely: Ranked, rank: int, share: float) -> None:
        """Queue the guess of this rank behind node ``at``."""
        if rank < len(likely) and (chance := share * likely[rank][1]) >= least and chance > 0:
            heapq.heappush(heap, (-chance, next(order), at, here, likely, rank))

    offer(node, place, guide.guesses(place, memory, so_far), 0, share)
    while heap and len(tree.tokens) < budget:
        chance, _, at, here, likely, rank = heapq.heappop(heap)
        token, part = likely[rank]
        offer(at, here, likely, rank + 1, -chance / part)
        following = guide.step(here, token)
        if following is None or guide.done(following):
            continue
        added = tree.add(at, token, following.state)
        offer(added, following, guide.guesses(following, memory, so_far), 0, -chance)
    return tree
