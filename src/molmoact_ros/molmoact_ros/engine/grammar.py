"""Which tokens may come next, for any vocabulary.

A token is allowed when its bytes lead on in the automaton of answers, however the vocabulary cuts
the text: nothing a trained model would write in that shape is ever forbidden. Where the text is
certain, the tokens are taken from its canonical encoding instead of asking the model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.engine.automaton import DEAD, TOKEN, Automaton, Label
from molmoact_ros.model.tokenizer import MolmoActTokenizer

_CONTEXT = 8
"""Tokens looked back at when certain text is encoded; pieces of text are far shorter."""

_REMEMBERED = 50_000
"""Entries of a memory before it starts again: a robot runs for weeks."""


class Vocabulary:
    """All spellings in order, so that tokens with a common beginning lie side by side."""

    def __init__(self, tokenizer: MolmoActTokenizer) -> None:
        self.bytes_of = tokenizer.token_bytes()
        pairs = sorted((text, index) for index, text in enumerate(self.bytes_of) if text)
        self._texts = [text for text, _ in pairs]
        self._ids = [index for _, index in pairs]

    def matching(self, automaton: Automaton, state: int) -> list[int]:
        """Ids of all tokens whose bytes the automaton can follow from ``state``."""
        found: list[int] = []
        todo = [(state, b"", 0, len(self._texts))]
        while todo:
            here, prefix, low, high = todo.pop()
            while low < high and self._texts[low] == prefix:
                found.append(self._ids[low])
                low += 1
            for letter, target in automaton.letters(here).items():
                if letter < TOKEN and low < high:
                    longer = prefix + bytes([letter])
                    first = bisect_left(self._texts, longer, low, high)
                    last = bisect_left(self._texts, _after(longer), first, high)
                    if first < last:
                        todo.append((target, longer, first, last))
        return found


class AnswerGrammar:
    """Walks an answer token by token. States come from ``start`` and ``advance``."""

    def __init__(
        self,
        tokenizer: MolmoActTokenizer,
        automaton: Automaton,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._automaton = automaton
        self._vocabulary = vocabulary if vocabulary is not None else Vocabulary(tokenizer)
        self._allowed: dict[int, NDArray[np.int64]] = {}
        self._certain: dict[int, tuple[str, int | None]] = {}
        self._forced: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        self._steps: dict[tuple[int, int], int] = {}
        self._pieces: dict[tuple[str, frozenset[str]], str] = {}
        self.start = automaton.start

    def allowed(self, state: int) -> NDArray[np.int64]:
        """Ids of the tokens that may come next, ascending."""
        if state not in self._allowed:
            ids = self._vocabulary.matching(self._automaton, state)
            ids += [x - TOKEN for x in self._automaton.letters(state) if x >= TOKEN]
            self._allowed[state] = np.array(sorted(ids), dtype=np.int64)
        return self._allowed[state]

    def advance(self, state: int, token: int) -> int:
        """The state behind ``token``. Raises ValueError for one that is not allowed."""
        target = self.follow(state, token)
        if target == DEAD:
            text = self._text(token)
            raise ValueError(f"token {token} ({text!r}) cannot follow here; ask ``allowed`` first")
        return target

    def follow(self, state: int, token: int) -> int:
        """The state behind ``token``, or DEAD."""
        key = (state, token)
        target = self._steps.get(key)
        if target is None:
            target = self._automaton.step(state, TOKEN + token)
            if target == DEAD and (text := self._text(token)):
                target = self._automaton.walk(state, text)
            if len(self._steps) >= _REMEMBERED:
                self._steps.clear()
            self._steps[key] = target
        return target

    def label(self, state: int) -> Label | None:
        """The value that begins in this state."""
        return self._automaton.label(state)

    def run(self, state: int) -> tuple[bytes, int]:
        """The bytes that must come next, up to where a value begins, a choice or a whole token,
        and the state there. (All action symbols may begin with the same byte: no choice yet.)
        """
        found = b""
        while self.label(state) is None and len(moves := self._automaton.letters(state)) == 1:
            ((letter, target),) = moves.items()
            if letter >= TOKEN:
                break
            found, state = found + bytes([letter]), target
        return found, state

    def done(self, state: int) -> bool:
        """Whether the answer is complete, its end-of-text token included."""
        return self._automaton.complete(state)

    def forced(self, state: int, answer: Sequence[int]) -> list[int]:
        """Tokens that must follow ``answer`` (all tokens so far); empty where there is a choice.

        As many as the certain text fixes: its last piece is left to the model where what comes
        behind could be spelled together with it.
        """
        if state not in self._certain:
            self._certain[state] = self._certain_text(state)
        text, closing = self._certain[state]
        if not text:
            return [] if closing is None else [closing]
        recent = self._text_tail(answer)
        if (state, recent) not in self._forced:
            if len(self._forced) >= _REMEMBERED:
                self._forced.clear()
            tokens = self._continued(recent, text)
            whole = tokens and closing is not None
            self._forced[state, recent] = [*tokens, closing] if whole else tokens  # type: ignore[list-item]
        return self._forced[state, recent]

    def _certain_text(self, state: int) -> tuple[str, int | None]:
        """The only possible text from here, as far as its pieces are certain, and the one token
        behind it, if that is certain too.
        """
        text, character = "", b""
        behind = state
        while len(moves := self._automaton.letters(behind)) == 1:
            ((letter, behind),) = moves.items()
            if letter >= TOKEN:
                # Bytes left over: the model stopped inside a character and has to finish it.
                return ("", None) if character else (text, letter - TOKEN)
            character += bytes([letter])
            if whole := _decoded(character):
                text, character, state = text + whole, b"", behind
        if not text:
            return "", None
        key = (text, frozenset(self._next_characters(state)))
        if key not in self._pieces:
            ends = {self._tokenizer.last_piece(text + follower) for follower in key[1]}
            cut = len(text) if ends <= {len(text)} else self._tokenizer.last_piece(text)
            self._pieces[key] = text[:cut]
        return self._pieces[key], None

    def _text(self, token: int) -> bytes | None:
        known = 0 <= token < self._tokenizer.vocab_size
        return self._vocabulary.bytes_of[token] if known else None

    def _next_characters(self, state: int) -> list[str]:
        """Every character that may come next; none where only whole tokens may."""
        found, todo = [], [(state, b"")]
        while todo:
            here, prefix = todo.pop()
            for letter, target in self._automaton.letters(here).items():
                if letter < TOKEN:
                    data = prefix + bytes([letter])
                    character = _decoded(data)
                    if character:
                        found.append(character)
                    elif len(data) < 4:
                        todo.append((target, data))
        return found

    def _text_tail(self, answer: Sequence[int]) -> tuple[int, ...]:
        tail: list[int] = []
        for token in reversed(answer[-_CONTEXT:]):
            if self._vocabulary.bytes_of[token] is None:
                break
            tail.insert(0, token)
        return tuple(tail)

    def _continued(self, recent: tuple[int, ...], text: str) -> list[int]:
        """Canonical tokens of ``text`` behind ``recent``; none when the model cut it otherwise."""
        for start in range(len(recent)):
            context = recent[start:]
            before = _decoded(b"".join(self._vocabulary.bytes_of[t] or b"" for t in context))
            ids = self._tokenizer.encode(before + text)
            if before and tuple(ids[: len(context)]) == context:
                return ids[len(context) :]
        return [] if recent else self._tokenizer.encode(text)


def _after(prefix: bytes) -> bytes:
    """The smallest byte string behind every string that begins with ``prefix``."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\xff" * 64


def _decoded(data: bytes | bytearray) -> str:
    """UTF-8 text, or nothing for bytes cut inside a character."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""
