"""From hidden states to the best token: over the whole vocabulary, or over what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from molmoact_ros.engine.grammar import AnswerGrammar
from molmoact_ros.model.molmoact import MolmoAct


class Script(Protocol):
    """Changes logits by position in the sequence: a way to decide what untrained weights write
    while all of their arithmetic is done. For measurements and tests.
    """

    def apply(
        self, logits: torch.Tensor, positions: torch.Tensor, ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Changed logits [rows, columns] of tokens at ``positions`` [rows]. The columns are the
        vocabulary, or the tokens ``ids`` [columns] (unused columns hold vocab_size).
        """
        ...


@dataclass(frozen=True)
class LogitBias:
    """Adds table[kinds[position]]; the last kind goes on. kinds int64 [positions]; table
    [kinds, vocab_size].
    """

    kinds: torch.Tensor
    table: torch.Tensor

    def apply(
        self, logits: torch.Tensor, positions: torch.Tensor, ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        lines = self.table[self.kinds[positions.clamp(max=len(self.kinds) - 1)]]
        return logits + (lines if ids is None else lines[:, ids.clamp(max=lines.shape[1] - 1)])


@dataclass(frozen=True)
class ScriptedTokens:
    """Adds ``bonus`` to one wanted token a position; the last one goes on. wanted int64
    [positions] may be written anew between answers.
    """

    wanted: torch.Tensor
    bonus: float = 1e4

    def apply(
        self, logits: torch.Tensor, positions: torch.Tensor, ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        tokens = self.wanted[positions.clamp(max=len(self.wanted) - 1)].unsqueeze(-1)
        if ids is None:
            return logits.scatter_add(-1, tokens, torch.full_like(logits[..., :1], self.bonus))
        return logits + (ids == tokens) * self.bonus


class Head(Protocol):
    """The last step of a forward."""

    def indices(self, states: list[int]) -> list[int]:
        """A number for every row that ``best`` wants to know; may copy to the device."""
        ...

    def best(
        self, hidden: torch.Tensor, indices: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """Token ids [rows] for hidden states [rows, width]. Fixed shapes, no waiting: this is
        recorded in a CUDA graph. Among equals the lowest id wins.
        """
        ...

    def script(self, bias: Script | None) -> None:
        """Use this bias from now on."""
        ...

    @property
    def version(self) -> int:
        """Grows when a recorded forward must be recorded again."""
        ...


class FullHead:
    """The best of all tokens."""

    def __init__(self, model: MolmoAct) -> None:
        self._model = model
        self._bias: Script | None = None
        self.version = 0

    def script(self, bias: Script | None) -> None:
        self.version += bias is not self._bias
        self._bias = bias

    def indices(self, states: list[int]) -> list[int]:
        return [0] * len(states)

    def best(
        self, hidden: torch.Tensor, indices: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        logits = self._model.logits(hidden)
        if self._bias is not None:
            logits = self._bias.apply(logits, positions)
        return logits.argmax(-1)


class LegalHead:
    """The best token the grammar allows; only rows of the output matrix that can be wanted are
    multiplied (some hundred of 152,064 in 7B-D).

    Allowed sets are collected as they are met: ``columns`` tokens and ``sets`` different sets fit
    before the tables grow (and forwards are recorded again).
    """

    def __init__(
        self,
        model: MolmoAct,
        grammar: AnswerGrammar,
        columns: int = 1024,
        sets: int = 512,
    ) -> None:
        self._model = model
        self._grammar = grammar
        self._bias: Script | None = None
        self.version = 0
        self._column_of: dict[int, int] = {}
        self._sets: dict[bytes, int] = {}
        self._set_of_state: dict[int, int] = {}
        weight = model.lm_head.weight
        self._ids = torch.zeros(0, dtype=torch.int64, device=weight.device)
        self._weight = weight.detach()[:0]
        self._allowed = torch.zeros(0, 0, dtype=torch.bool, device=weight.device)
        self._reserve(columns, sets)

    def script(self, bias: Script | None) -> None:
        self.version += bias is not self._bias
        self._bias = bias

    def indices(self, states: list[int]) -> list[int]:
        return [self._set_of(state) for state in states]

    def best(
        self, hidden: torch.Tensor, indices: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        logits = torch.nn.functional.linear(hidden, self._weight)
        if self._bias is not None:
            logits = self._bias.apply(logits, positions, self._ids)
        logits = logits.masked_fill(~self._allowed[indices], float("-inf"))
        top = logits.amax(-1, keepdim=True)
        # Columns are in the order they were met; equals must not be decided by that.
        return self._ids.masked_fill(logits != top, self._vocab).amin(-1)

    @property
    def _vocab(self) -> int:
        return self._model.config.llm.vocab_size

    def _set_of(self, state: int) -> int:
        if state not in self._set_of_state:
            ids = self._grammar.allowed(state)
            key = ids.tobytes()
            if key not in self._sets:
                self._enter(key, ids.tolist())
            self._set_of_state[state] = self._sets[key]
        return self._set_of_state[state]

    def _enter(self, key: bytes, ids: list[int]) -> None:
        new = [token for token in ids if token not in self._column_of]
        sets, columns = self._allowed.shape
        if len(self._column_of) + len(new) > columns or len(self._sets) == sets:
            wide = len(self._column_of) + len(new) > columns
            self._reserve(columns * 2 if wide else columns, sets if wide else sets * 2)
            self._enter(key, ids)
            return
        first = len(self._column_of)
        for column, token in enumerate(new, start=first):
            self._column_of[token] = column
        if new:
            chosen = torch.tensor(new, device=self._ids.device)
            self._ids[first : first + len(new)] = chosen
            self._weight[first : first + len(new)] = self._model.lm_head.weight[chosen]
        line = len(self._sets)
        if ids:
            wanted = torch.tensor([self._column_of[token] for token in ids])
            self._allowed[line, wanted.to(self._allowed.device)] = True
        self._sets[key] = line

    def _reserve(self, columns: int, sets: int) -> None:
        """Tables with room for more; what the old ones hold is copied."""
        ids = self._ids.new_full((columns,), self._vocab)
        weights = self._weight.new_zeros(columns, self._weight.shape[1])
        allowed = self._allowed.new_zeros(sets, columns)
        lines, used = self._allowed.shape
        ids[:used], weights[:used], allowed[:lines, :used] = self._ids, self._weight, self._allowed
        self._ids, self._weight, self._allowed = ids, weights, allowed
        self.version += 1
