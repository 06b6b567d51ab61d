"""What the page is told about policy, commander and arm: plain data, no ROS.

Fields follow molmoact_msgs (PolicyStatus, CommandStatus, ArmStatus, Reasoning); phases,
modes and sources are lower-case words instead of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

PHASES = ("idle", "waiting_for_data", "thinking", "awaiting_approval", "executing", "paused",
          "fault")  # fmt: skip
MODES = ("auto", "review", "shadow")
SOURCES = ("hold", "policy", "teleop")
RECORDER_STATES = ("idle", "recording", "saving", "unlabelled")
CHUNK_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")


@dataclass(frozen=True)
class Session:
    """Who thinks and what moves. suggestions: instructions the page offers."""

    thinker: str = ""
    robot: str = ""
    suggestions: tuple[str, ...] = ()
    can_new_scene: bool = False
    default_mode: str = "auto"
    has_teleop: bool = False


@dataclass(frozen=True)
class PolicyStatus:
    """phase: one of PHASES. detail: what to do next, for a person. Ages and times in seconds."""

    phase: str = "idle"
    instruction: str = ""
    detail: str = ""
    mode: str = "auto"
    chunk_id: int = 0
    row: int = 0
    rows: int = 0
    observation_age: float = 0.0
    inference_time: float = 0.0
    steering_active: bool = False


@dataclass(frozen=True)
class CommandStatus:
    """source: one of SOURCES. enabled: False after a stop until reset. tracking_error: metres."""

    source: str = "hold"
    enabled: bool = True
    limited: bool = False
    reason: str = ""
    command_age: float = 0.0
    tracking_error: float = 0.0


@dataclass(frozen=True)
class ArmStatus:
    """gripper_width: metres between the fingers. detail: what to do about ``errors``."""

    connected: bool = False
    armed: bool = False
    mode: str = ""
    errors: tuple[str, ...] = ()
    detail: str = ""
    gripper_width: float = 0.0


@dataclass(frozen=True)
class TopicView:
    """One recorded topic that needs a look. level: ok, warn or missing. rate: Hz."""

    topic: str
    level: str = "ok"
    rate: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class RecorderStatus:
    """state: one of RECORDER_STATES. elapsed: seconds. free: seconds the disk lasts, -1 unknown.

    topics: those that are not well. count: all topics that are recorded.
    """

    state: str = "idle"
    task: str = ""
    elapsed: float = 0.0
    megabytes: float = 0.0
    free: float = -1.0
    dropped: int = 0
    detail: str = ""
    warnings: tuple[str, ...] = ()
    topics: tuple[TopicView, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class TasksStatus:
    """The operator's list. prompt: what to do before the next take.

    tasks: (words, successes, successes wanted).
    """

    task: str = ""
    prompt: str = ""
    tasks: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class TrainingStatus:
    """Fine-tuning beside the robot. left: seconds, -1 unknown. message: how the last run ended."""

    running: bool = False
    step: int = 0
    steps: int = 0
    left: float = -1.0
    loss: float = math.nan
    message: str = ""


@dataclass(frozen=True)
class ThoughtView:
    """One thought as the page draws it.

    trace: points (x, y) on the 0..255 grid of the external image; a person's when steered.
    actions: rows of CHUNK_NAMES in metres, radians and 1 open / 0 closed, ``period`` seconds a row.
    timings: stage -> seconds. refusal: why it must not be executed; empty when it may.
    """

    chunk_id: int
    stamp: float
    instruction: str = ""
    trace: tuple[tuple[float, float], ...] = ()
    actions: tuple[tuple[float, ...], ...] = ()
    period: float = 1.0 / 15.0
    timings: Mapping[str, float] = field(default_factory=dict)
    steered: bool = False
    refusal: str = ""
    text: str = ""


def finite(value: object) -> object:
    """``value`` with NaN and infinity as None: JSON has neither, and browsers refuse them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [finite(item) for item in value]
    return value
