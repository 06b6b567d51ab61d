"""What goes into and comes out of the commander: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from molmoact_ros.geometry import Floats, Pose

NOT_FOLLOWED = "target not followed: "
"""An arm's words begin so while it is ready and refuses the newest target."""


class Source(IntEnum):
    """Who moves the arm; the numbers are those of CommandStatus."""

    HOLD = 0
    """Nobody: the commanded pose stands still."""
    POLICY = 1
    """The chunks of the policy."""
    TELEOP = 2
    """A person's twist."""


@dataclass(frozen=True)
class Command:
    """One tick of the commander.

    pose: commanded fr3_hand_tcp in the base frame; None until the arm was first measured.
    twist: [6] of that pose, m/s and rad/s, base frame.
    gripper: 1 = open, 0 = closed; None until somebody asked for either.
    source: who moves the arm now. enabled: False after a stop until it is reset.
    limited: a limit changed the motion. reason: words for a person: why it holds and what to
    do about it, or which limit is felt.
    command_age: seconds since the input being executed was produced; 0 while nobody moves it.
    tracking_error: metres between commanded and measured position.
    chunk_row: number of the running row in its chunk, -1 when none runs.
    blocked: the arm itself cannot follow (no state, not ready, too far from its command).
    """

    pose: Pose | None
    twist: Floats
    gripper: float | None
    source: Source
    enabled: bool
    limited: bool
    reason: str
    command_age: float
    tracking_error: float
    chunk_row: int = -1
    blocked: bool = False
