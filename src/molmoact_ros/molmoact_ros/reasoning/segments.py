"""Cuts an answer into its bracketed parts and proves that nothing stands loose between them."""

from __future__ import annotations

import re
from typing import Final

from molmoact_ros.reasoning.depth_text import DEPTH_END, DEPTH_START
from molmoact_ros.reasoning.thought import ThoughtRefused

MAX_CHARACTERS: Final = 20_000
_OPENING = re.compile(r"<DEPTH_|\[|\]")
_BRACKET = re.compile(r"[\[\]]")


def split_segments(text: str) -> list[str]:
    """The depth parts (with their marks) and outermost lists (with brackets) of ``text``, in order.

    Raises ThoughtRefused for a part that is cut off, a bracket or depth code outside a part, lists
    nested more than two deep, text outside the parts that is not plain ASCII, or over 20 000
    characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise ThoughtRefused(
            f"The answer has {len(text)} characters, far beyond any complete one; let the model"
            " answer again."
        )
    segments, position = [], 0
    while opening := _OPENING.search(text, position):
        _check_words(text[position : opening.start()])
        end = _end_of_part(text, opening.start())
        segments.append(text[opening.start() : end])
        position = end
    _check_words(text[position:])
    return segments


def _end_of_part(text: str, start: int) -> int:
    if text.startswith(DEPTH_START, start):
        end = text.find(DEPTH_END, start)
        if end < 0:
            raise ThoughtRefused(
                "The answer is cut off inside its depth part; raise max_new_tokens."
            )
        return end + len(DEPTH_END)
    if text[start] == "<":
        raise ThoughtRefused(
            "A depth code stands outside the depth part; let the model answer again with the"
            " grammar switched on."
        )
    level = 0
    for bracket in _BRACKET.finditer(text, start):
        level += 1 if bracket[0] == "[" else -1
        if level == 0:
            return bracket.end()
        if not 0 < level <= 2:
            raise ThoughtRefused(
                "The brackets of the answer do not match; let the model answer again."
            )
    raise ThoughtRefused("The answer is cut off inside a list; raise max_new_tokens.")


def _check_words(words: str) -> None:
    # Action symbols hold no ASCII, so one that lost its list would show up here.
    if not words.isascii():
        raise ThoughtRefused(
            f"The answer holds {words.strip()[:40]!r} outside its lists, which may be a lost"
            " action; let the model answer again."
        )
