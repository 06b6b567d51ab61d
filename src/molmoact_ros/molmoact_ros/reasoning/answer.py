"""The one gate between a model's text and a motion: strict reading, exact writing.

Wording varies between checkpoints, so an answer is read by its bracket shape: a depth part, a
trace, a list of actions, with plain words between. Everything else is refused: a damaged row moves
a real arm at full speed when it is guessed instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molmoact_ros.reasoning.actions import chunk_text, decode
from molmoact_ros.reasoning.depth_text import depth_from_text, depth_to_text
from molmoact_ros.reasoning.prompts import Wording, answer_template
from molmoact_ros.reasoning.segments import split_segments
from molmoact_ros.reasoning.statistics import ActionStatistics
from molmoact_ros.reasoning.symbols import bin_of
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused
from molmoact_ros.reasoning.trace_text import trace_from_text, trace_to_text

_BLANKS = " \t\r\n"
_ROW = r"\[[^\[\]]*\]"
_NESTED = re.compile(rf"\[\s*{_ROW}(?:\s*,\s*{_ROW})*\s*\]")
_FLAT = re.compile(_ROW)


@dataclass(frozen=True)
class AnswerContract:
    """What an answer must contain to be believed.

    statistics: scaling of the data set the model acts for. rows: actions in a chunk. dims: numbers
    in an action. depth_codes: codes in the depth part. depth_required: refuse answers without
    depth. steered: the trace was drawn on the picture, so the answer holds actions only.
    Raises ValueError when statistics and dims disagree.
    """

    statistics: ActionStatistics
    rows: int = 8
    dims: int = 7
    depth_codes: int = 100
    depth_required: bool = True
    steered: bool = False

    def __post_init__(self) -> None:
        if self.statistics.dims != self.dims:
            raise ValueError(
                f"The statistics have {self.statistics.dims} dimensions, the answer {self.dims};"
                " choose the statistics key of this robot."
            )
        if self.rows < 1 or self.depth_codes < 1:
            raise ValueError(
                f"An answer needs at least one row and one depth code, got rows={self.rows} and"
                f" depth_codes={self.depth_codes}; correct the profile."
            )


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer's parts before scaling: depth codes [r, c] or None, trace [L, 2], bins [N, D]."""

    depth: NDArray[np.uint8] | None
    trace: NDArray[np.float32]
    bins: NDArray[np.uint8]


def parse_answer(
    text: str, contract: AnswerContract, timings: Mapping[str, float] | None = None
) -> Thought:
    """A complete, undamaged answer to a Thought in physical units.

    Raises ThoughtRefused, with one sentence for a person and the text, for every other answer.
    """
    answer = read_answer(text, contract)
    actions = contract.statistics.unnormalise(decode(answer.bins))
    if not np.isfinite(actions).all():
        raise ThoughtRefused(
            "The actions are not finite after scaling; check the statistics file.", text
        )
    return Thought(
        text=text,
        depth=answer.depth,
        trace=answer.trace,
        actions=actions,
        steered=contract.steered,
        timings=dict(timings or {}),
    )


def read_answer(text: str, contract: AnswerContract) -> Answer:
    """As ``parse_answer``, but action bins instead of physical units. Raises ThoughtRefused."""
    try:
        return _read(text, contract)
    except ThoughtRefused as refusal:
        raise ThoughtRefused(refusal.reason, text) from None


def compose_answer(
    depth: ArrayLike | None, trace: ArrayLike | None, bins: ArrayLike, wording: Wording
) -> str:
    """The text a model would answer, starting with one blank as every released model does.

    depth: codes 0..127, any shape; None leaves its sentence out. trace: whole points [1..5, 2] on
    the 0..255 grid. bins: [N, D], or [D] for a single action. wording: "single", "multi",
    "finetune" or "steering"; a steering answer names neither depth nor trace, which must be None.
    Raises ValueError for parts that do not fit the wording or are out of range.
    """
    template = answer_template(wording, depth is not None)
    if wording == "steering":
        if depth is not None or trace is not None:
            raise ValueError(
                "A steering answer holds actions only; pass depth=None and trace=None."
            )
    elif trace is None:
        raise ValueError(f"The wording {wording!r} needs a trace; pass 1 to 5 points.")
    else:
        if depth is not None:
            template = template.replace("{depth}", depth_to_text(depth))
        template = template.replace("{trace}", trace_to_text(trace))
    return " " + template.replace("{action}", chunk_text(bins))


def _read(text: str, contract: AnswerContract) -> Answer:
    segments = split_segments(text)
    kinds = "".join("d" if segment.startswith("<") else "l" for segment in segments)
    lists = [segment for segment in segments if not segment.startswith("<")]
    if contract.steered:
        if kinds != "l":
            raise ThoughtRefused(
                f"An answer to a steering question holds one list of actions, but {_found(kinds)}"
                " came; ask with the steering question."
            )
        return Answer(None, np.zeros((0, 2), np.float32), _action_bins(lists[0], contract))
    wanted = "one depth part, " if contract.depth_required else ""
    # The public fine-tuning loader writes the same trace twice, for a left and a right arm.
    twice = len(lists) == 3 and lists[0] == lists[1]
    if re.fullmatch("dll" if contract.depth_required else "d?ll", kinds) is None and not (
        twice and re.fullmatch("dlll" if contract.depth_required else "d?lll", kinds)
    ):
        raise ThoughtRefused(
            f"The answer must hold {wanted}one trace and one list of actions in this order, but"
            f" {_found(kinds)} came; let the model answer again or raise max_new_tokens."
        )
    depth = depth_from_text(segments[0], contract.depth_codes) if kinds[0] == "d" else None
    return Answer(depth, trace_from_text(lists[0]), _action_bins(lists[-1], contract))


def _action_bins(block: str, contract: AnswerContract) -> NDArray[np.uint8]:
    if _NESTED.fullmatch(block):
        rows = re.findall(_ROW, block[1:-1])
    elif _FLAT.fullmatch(block):
        rows = [block]
    else:
        raise ThoughtRefused(
            f"The actions {block[:40]!r} are not a list of {contract.rows} rows; let the model"
            " answer again or check the checkpoint's chunk length."
        )
    if len(rows) != contract.rows:
        raise ThoughtRefused(
            f"The answer has {len(rows)} action rows instead of {contract.rows}; let the model"
            " answer again or check the checkpoint's chunk length."
        )
    return np.array([_row_bins(row, i + 1, contract.dims) for i, row in enumerate(rows)], np.uint8)


def _row_bins(row: str, number: int, dims: int) -> list[int]:
    entries = [entry.strip(_BLANKS) for entry in row[1:-1].split(",")]
    if len(entries) != dims:
        raise ThoughtRefused(
            f"Action row {number} has {len(entries)} entries instead of {dims}; let the model"
            " answer again."
        )
    bins = []
    for entry in entries:
        index = bin_of(entry)
        if index is None:
            raise ThoughtRefused(
                f"Action row {number} holds {entry[:20]!r}, which is none of the 256 action"
                " symbols; let the model answer again."
            )
        bins.append(index)
    return bins


def _found(kinds: str) -> str:
    lists = kinds.count("l")
    parts = f"{kinds.count('d')} depth part(s) and {lists} list(s)"
    return parts if kinds else "neither a depth part nor a list"
