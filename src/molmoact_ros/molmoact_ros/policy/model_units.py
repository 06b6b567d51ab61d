"""Between camera, model and robot: gripper, and parts of an answer in SI units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.engine.guide import Rows
from molmoact_ros.engine.reader import Part
from molmoact_ros.policy.base import Segment
from molmoact_ros.reasoning.actions import decode, encode
from molmoact_ros.reasoning.answer import AnswerContract
from molmoact_ros.reasoning.depth_text import grid_shape
from molmoact_ros.reasoning.thought import Thought

GRIPPER_OPEN_FROM = 0.5
THOUGHT_GRIPPER = "1open_0closed"
"""How a thought's rows say it, whatever the recording said (see ``reasoning.gripper``)."""


def open_or_closed(thought: Thought, grippers: NDArray[np.bool_]) -> Thought:
    """The thought with its gripper columns (``grippers`` [D] is True) as 1 open or 0 closed.

    The model writes bins of -1..1 in which 1 is open and 0 closed; the threshold is 0.5.
    """
    actions = thought.actions.copy()
    if actions.size:
        actions[:, grippers] = actions[:, grippers] >= GRIPPER_OPEN_FROM
    return replace(thought, actions=actions)


def segment_of(part: Part, contract: AnswerContract) -> Segment | None:
    """A decoded part in the units of a thought; None for what no thought could hold."""
    if part.kind == "depth":
        count = len(part.values)
        codes = np.array(part.values, np.uint8)
        return Segment("depth", 0, codes.reshape(grid_shape(count))) if count else None
    if part.kind == "trace":
        points = np.array(part.values, np.float32)
        fits = points.size and points.size % 2 == 0 and part.index == 0 and not contract.steered
        return Segment("trace", 0, points.reshape(-1, 2)) if fits else None
    if len(part.values) != contract.dims or part.index >= contract.rows:
        return None
    row = contract.statistics.unnormalise(decode(part.values))
    row[~contract.statistics.scaled] = row[~contract.statistics.scaled] >= GRIPPER_OPEN_FROM
    return Segment("row", part.index, row)


def bins_of(rows: NDArray[np.float64], contract: AnswerContract) -> Rows:
    """Action rows [N, D] in SI units as the bins an answer can begin with; at least one row of
    the answer is left to the model. Rows of another width give none.
    """
    rows = rows[: contract.rows - 1]
    if not rows.size or rows.shape[1] != contract.dims:
        return ()
    bins = encode(contract.statistics.normalise(rows, THOUGHT_GRIPPER))
    return tuple(tuple(int(b) for b in row) for row in bins)
