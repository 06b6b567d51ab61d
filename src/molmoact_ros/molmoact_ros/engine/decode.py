"""The decode loop: guess, verify in one forward, keep what the model would have written anyway.

Every token is decided by the model from exactly the tokens before it, as in one-by-one decoding
(greedy.py); guesses only let one forward decide several. See rows.py for why side branches do not
decide, and docs/engine.md for the argument as a whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from molmoact_ros.engine.greedy import Canceled
from molmoact_ros.engine.guide import Guide, Place
from molmoact_ros.engine.memory import DraftMemory
from molmoact_ros.engine.network import Network
from molmoact_ros.engine.planning import plan_tree
from molmoact_ros.engine.reader import AnswerReader, Part
from molmoact_ros.engine.rows import ROOT, Layout, TokenTree, lay_out
from molmoact_ros.engine.settings import EngineSettings


@dataclass(frozen=True)
class Answer:
    """Tokens of one answer, without the end-of-text token.

    ended: the model said that it was done (else the token limit cut it off). forwards: passes
    through the language model, the prompt's included; counts and timings (seconds) have one entry
    a segment: prefill, depth, trace, actions. exit_at: the token with which the model left the
    grammar in strict mode, or None.
    """

    ids: tuple[int, ...]
    ended: bool
    forwards: int
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    exit_at: int | None = None


class _Ended(Exception):
    """The end-of-text token was decided."""


class Decoding:
    """One answer in the making; ``run`` it once."""

    def __init__(
        self,
        network: Network,
        settings: EngineSettings,
        guide: Guide | None,
        reader: AnswerReader,
        memory: DraftMemory,
        eos: int,
        on_part: Callable[[Part], None],
        canceled: Callable[[], bool],
    ) -> None:
        self._network = network
        self._settings = settings
        self._guide = guide
        self._reader = reader
        self._memory = memory
        self._eos = eos
        self._on_part = on_part
        self._canceled = canceled
        self._place: Place | None = guide.start() if guide is not None else None
        self._binding = settings.mode == "constrained"
        self._answer: list[int] = []
        self._unread: list[int] = []
        self._states: list[int] = []
        self._seen: list[int] = []
        self._start = 0
        self._segment = "depth"
        self._exit_at: int | None = None
        self.counts: dict[str, int] = {}
        self.timings: dict[str, float] = {}
        self._lap = time.perf_counter()

    def run(self, prompt: Sequence[int], features: torch.Tensor | None) -> Answer:
        """Raises Canceled (checked before every forward) and ValueError (it does not fit)."""
        limit = self._settings.max_new_tokens
        if self._canceled():
            raise Canceled("the goal was canceled before the model was asked")
        # Certain text may overshoot the limit by a sentence.
        self._network.prefill(prompt, features, limit + 64)
        self._start, self._unread = len(prompt) - 1, [prompt[-1]]
        self._states = [self._place.state if self._place is not None else 0]
        self._count("prefill")
        ended = False
        try:
            while len(self._answer) < limit:
                self._take_certain()
                if len(self._answer) < limit:
                    self._forward()
        except _Ended:
            ended = True
        self._finish(self._segment)
        ids = tuple(self._answer if ended else self._answer[:limit])
        forwards = sum(self.counts.values())
        return Answer(ids, ended, forwards, self.counts, self.timings, self._exit_at)

    def _take_certain(self) -> None:
        while self._place is not None and self._bound(self._place):
            if len(self._answer) >= self._settings.max_new_tokens:
                return
            for token in self._place.certain:
                self._commit(token)
                self._unread.append(token)
                self._states.append(self._place.state)
                # What a side branch suggested begins with the certain tokens.
                self._seen = self._seen[1:] if self._seen[:1] == [token] else []

    def _forward(self) -> None:
        if self._canceled():
            raise Canceled("the goal was canceled while the model was answering")
        most = self._network.sizes[-1]
        unread, states = self._unread[:most], self._states[:most]
        tree = TokenTree()
        whole = len(unread) == len(self._unread)
        if whole and self._settings.drafts and self._guide is not None and self._place is not None:
            tree = plan_tree(
                self._guide, self._place, self._seen, self._memory, self._reader,
                most - len(unread), self._settings.least_probability,
            )  # fmt: skip
        layout = lay_out(unread, states, tree, self._start)
        decided = self._network.decide(layout.rows)
        self._count(self._segment)
        self._start += len(unread)
        self._unread, self._states = self._unread[most:], self._states[most:]
        if whole:
            self._accept(tree, layout, decided, len(unread) - 1)

    def _accept(self, tree: TokenTree, layout: Layout, decided: list[int], last: int) -> None:
        """Follow the decided tokens through the tree: first what they settle, then what the side
        branches suggest for the next forward.
        """
        node: int | None = ROOT
        on_trunk = True
        while on_trunk and len(self._answer) < self._settings.max_new_tokens:
            row = last if node in (ROOT, None) else layout.row_of[node]  # type: ignore[index]
            for token in self._following(self._place, decided[row]):
                self._commit(token)
                node = tree.child(node, token) if node is not None else None
                on_trunk = on_trunk and node in layout.trunk
                if on_trunk:
                    self._start += 1
                else:
                    self._unread.append(token)
                    self._states.append(self._place.state if self._place is not None else 0)
        self._seen = []
        place = self._place
        while node is not None and place is not None and self._guide is not None:
            for token in self._following(place, decided[layout.row_of[node]]):
                self._seen.append(token)
                node = tree.child(node, token) if node is not None else None
                place = self._guide.step(place, token) if place is not None else None

    def _following(self, place: Place | None, decided: int) -> tuple[int, ...]:
        return place.certain if place is not None and self._bound(place) else (decided,)

    def _bound(self, place: Place) -> bool:
        """Whether the next tokens are no question to the model."""
        return bool(place.certain) and (self._binding or place.bound)

    def _commit(self, token: int) -> None:
        """Settle one token of the answer."""
        if token == self._eos:
            raise _Ended
        self._answer.append(token)
        if self._guide is not None and self._place is not None:
            self._place = self._guide.step(self._place, token)
            if self._place is None:
                self._exit_at = len(self._answer) - 1
        for part in self._reader.push(token):
            if part.kind == "depth":
                self._finish("depth")
                self._segment = "trace"
            elif part.kind == "trace":
                self._finish("trace")
                self._segment = "actions"
            elif self._segment != "actions":
                # A steered answer has neither depth nor trace.
                self.counts["actions"] = self.counts.pop(self._segment, 0)
                self._segment = "actions"
            self._on_part(part)

    def _count(self, segment: str) -> None:
        self.counts[segment] = self.counts.get(segment, 0) + 1
        if segment == "prefill":
            self._finish(segment)

    def _finish(self, segment: str) -> None:
        now = time.perf_counter()
        self.timings[segment] = self.timings.get(segment, 0.0) + now - self._lap
        self._lap = now
