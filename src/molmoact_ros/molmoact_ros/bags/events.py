"""molmoact_msgs/EpisodeEvent as bytes, so that the recorder can write it without message types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from molmoact_ros.bags.cdr import CdrWriter

EVENT = "molmoact_msgs/msg/EpisodeEvent"
NO_OUTCOME = 255


class Event(IntEnum):
    """Values of EpisodeEvent."""

    STARTED = 0
    STOPPED = 1
    NOTE = 2
    LABELLED = 3


@dataclass(frozen=True)
class EpisodeEvent:
    """One mark in the history of an episode; fields as in the message."""

    stamp_ns: int
    event: Event
    episode_id: str
    task: str
    operator: str
    outcome: int = NO_OUTCOME
    text: str = ""

    def serialized(self) -> bytes:
        """Plain CDR of molmoact_msgs/EpisodeEvent."""
        writer = CdrWriter().header(self.stamp_ns).uint8(int(self.event))
        writer.string(self.episode_id).string(self.task).string(self.operator)
        return writer.uint8(self.outcome).string(self.text).bytes()
