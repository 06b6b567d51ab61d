"""Greedy decoding: read the prompt once, then one forward a token the model must decide.

With a grammar the best ALLOWED token is taken, and text that is certain is read in one forward
together with the token before it. Without one this is plain greedy decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from transformers.cache_utils import DynamicCache

from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.engine.heads import Script
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.tokenizer import SpecialIds


class Canceled(RuntimeError):
    """The caller asked to stop before the answer was complete."""


@dataclass(frozen=True)
class Decoded:
    """Tokens of one answer, without the end-of-text token.

    ended: the model said that it was done (else the token limit cut it off). forwards: passes
    through the language model, the prompt's included. timings: segment -> seconds.
    """

    ids: tuple[int, ...]
    ended: bool
    forwards: int
    timings: dict[str, float] = field(default_factory=dict)


class SegmentClock:
    """Time per part of an answer. A part ends with the token that closes it."""

    def __init__(self, ids: SpecialIds, texts: Sequence[bytes | None]) -> None:
        self._ids = ids
        self._texts = texts
        self._last = time.perf_counter()
        self._tail = b""
        self._depth_seen = False
        self.timings: dict[str, float] = {}

    def lap(self, segment: str) -> None:
        """Everything since the last lap belongs to ``segment``."""
        now = time.perf_counter()
        self.timings[segment] = self.timings.get(segment, 0.0) + now - self._last
        self._last = now

    def token(self, token: int) -> None:
        """Account for one decoded token."""
        if token == self._ids.depth_end:
            self.lap("depth")
            self._depth_seen = True
            self._tail = b""
            return
        self._tail = (self._tail + (self._texts[token] or b""))[-16:]
        # The first list that closes behind the depth part is the trace.
        if self._depth_seen and "trace" not in self.timings and b"]]" in self._tail:
            self.lap("trace")


@torch.inference_mode()
def decode_greedy(
    model: MolmoAct,
    ids: SpecialIds,
    prompt: Sequence[int],
    features: torch.Tensor | None,
    *,
    grammar: AnswerGrammar | None = None,
    max_new_tokens: int = 640,
    canceled: Callable[[], bool] = lambda: False,
    clock: SegmentClock | None = None,
    bias: Script | None = None,
) -> Decoded:
    """Answer ``prompt`` (ids, BOS first) whose pictures are ``features`` [N, hidden]. ``bias``
    scripts the logits for measurements.

    Raises Canceled (checked before every forward), and ValueError when prompt and features do not
    match or the context window is too short.
    """
    state = grammar.start if grammar is not None else 0
    cache = DynamicCache()
    unread = list(prompt)
    answer: list[int] = []
    forwards = 0
    while len(answer) < max_new_tokens:
        chosen = grammar.forced(state, answer) if grammar is not None else []
        if not chosen:
            if canceled():
                raise Canceled("the goal was canceled while the model was answering")
            allowed = None
            if grammar is not None:
                allowed = torch.from_numpy(grammar.allowed(state)).to(model.device)
            chosen = [_next_token(model, cache, unread, features, allowed, bias)]
            if clock is not None and not forwards:
                clock.lap("prefill")
            forwards, features, unread = forwards + 1, None, []
        for token in chosen:
            if token == ids.eos:
                return _decoded(answer, True, forwards, clock)
            if grammar is not None:
                state = grammar.advance(state, token)
            answer.append(token)
            unread.append(token)
            if clock is not None:
                clock.token(token)
    return _decoded(answer[:max_new_tokens], False, forwards, clock)


def _next_token(
    model: MolmoAct,
    cache: DynamicCache,
    unread: Sequence[int],
    features: torch.Tensor | None,
    allowed: torch.Tensor | None,
    bias: Script | None,
) -> int:
    tokens = torch.tensor([list(unread)], device=model.device)
    hidden = model.hidden(model.embed(tokens, features), cache)
    logits = model.logits(hidden[0, -1])
    if bias is not None:
        last = torch.tensor([cache.get_seq_length() - 1], device=model.device)
        logits = bias.apply(logits[None], last)[0]
    if allowed is None:
        return int(logits.argmax())
    return int(allowed[logits[allowed].argmax()])


def _decoded(
    answer: Sequence[int], ended: bool, forwards: int, clock: SegmentClock | None
) -> Decoded:
    if clock is not None:
        clock.lap("actions")
    return Decoded(tuple(answer), ended, forwards, dict(clock.timings) if clock else {})
