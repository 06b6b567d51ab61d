"""The words of the recorder: its states, settings, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from molmoact_ros.bags.audit import Report
from molmoact_ros.bags.pictures import Codec
from molmoact_ros.bags.take import RESERVE_BYTES
from molmoact_ros.bags.topics import TopicSpec


class State(IntEnum):
    """Values of EpisodeStatus."""

    IDLE = 0
    RECORDING = 1
    SAVING = 2
    UNLABELLED = 3


class Ending(IntEnum):
    """Values of RecordEpisode's result."""

    STOPPED = 0
    TIMED_OUT = 1
    CANCELED = 2
    DISK_FULL = 3
    WRITER_ERROR = 4
    TOPIC_LOST = 5


class Refused(RuntimeError):
    """The recorder will not do it; the message says why and what to change."""


@dataclass(frozen=True)
class Settings:
    """root: folder of the episodes. reserve: disk bytes left alone. robot: its name in words."""

    root: Path
    specs: tuple[TopicSpec, ...]
    codec: Codec = field(default_factory=Codec)
    workers: int = 1
    reserve: int = RESERVE_BYTES
    robot: str = ""
    event_topic: str = "/recorder/event"
    cameras: int = 2


@dataclass(frozen=True)
class Result:
    """How an episode ended. ``topics``: the audit at that moment."""

    episode_id: str
    ending: Ending
    message: str
    path: Path
    topics: tuple[Report, ...]


@dataclass(frozen=True)
class View:
    """Everything an operator sees, as in EpisodeStatus."""

    state: State
    episode_id: str
    task: str
    operator: str
    elapsed: float
    messages: int
    dropped: int
    bytes_written: int
    bytes_free: int
    seconds_free: float
    bag_path: str
    detail: str
    warnings: tuple[str, ...]
    topics: tuple[Report, ...]
