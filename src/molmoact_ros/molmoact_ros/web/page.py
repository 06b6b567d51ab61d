"""The seam between robot and page: latest pictures and status in, commands out.

Everything here is "the latest": a page that falls behind skips, it never lags. Writers
(ROS callbacks) only store a reference; a picture is encoded when a page asks for it, so
without a viewer the page costs nothing.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.viz.jpeg import check_image
from molmoact_ros.web.picture import Picture
from molmoact_ros.web.picture import Stream as Stream
from molmoact_ros.web.status import (
    ArmStatus,
    CommandStatus,
    PolicyStatus,
    RecorderStatus,
    Session,
    TasksStatus,
    ThoughtView,
    TrainingStatus,
)
from molmoact_ros.web.status import finite as finite_json
from molmoact_ros.web.words import in_words


class PageError(RuntimeError):
    """A command could not be carried out; the message is shown to the operator."""


class PageCommands(Protocol):
    """What the page may ask for. Each returns a short answer in words or raises PageError.

    Called from the server's worker threads, never from its event loop: ``stop`` from a
    thread of its own, so that nothing can be in front of it; all others one after the
    other. Implementations must be thread-safe and return within a few seconds.
    """

    def start(self, instruction: str, mode: str) -> str: ...
    def stop(self) -> str: ...
    def reset(self) -> str: ...
    def home(self) -> str: ...
    def new_scene(self) -> str: ...
    def steer(self, drawn: Drawn) -> str: ...
    def clear(self) -> str: ...
    def review(self, plan: int, choice: str) -> str: ...
    def record(self, choice: str, task: str) -> str: ...
    def hand(self, choice: str) -> str: ...
    def train(self, choice: str) -> str: ...
    def jog(self, axes: Sequence[float], buttons: Sequence[bool]) -> None:
        """A hand on the page, 20 times a second while it is there: axes [6] in -1..1 (forward,
        left, up, roll, pitch, yaw), buttons [4] (dead-man switch, open, close, give back).

        Called on the server's event loop: it must not wait for anything.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A checked path on the picture of ``stamp`` that is ``width`` x ``height`` pixels.

    points: 2 to 5, (x, y) on the 0..255 grid. until_cleared: its lifetime, else the next chunk.
    """

    points: tuple[tuple[float, float], ...]
    stamp: float
    width: int
    height: int
    until_cleared: bool = False


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One consistent look: status as JSON-ready dict, its version, thoughts oldest first."""

    version: int
    status: dict[str, object]
    thoughts: tuple[tuple[int, ThoughtView], ...]


class PageState:
    """Thread-safe latest state. ``clock`` is that of the image stamps (seconds)."""

    def __init__(
        self,
        session: Session | None = None,
        *,
        clock: Callable[[], float] = time.time,
        history: int = 24,
        jpeg_quality: int = 82,
    ) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._quality = jpeg_quality
        self._session = session or Session()
        self._policy: PolicyStatus | None = None
        self._command: CommandStatus | None = None
        self._arm: ArmStatus | None = None
        self._executed: tuple[tuple[float, float], ...] = ()
        self._sketch: tuple[tuple[float, float], ...] = ()
        self._recorder: RecorderStatus | None = None
        self._tasks: TasksStatus | None = None
        self._training: TrainingStatus | None = None
        self._pictures: dict[Stream, Picture] = {}
        self._thoughts: deque[tuple[int, ThoughtView]] = deque(maxlen=history)
        self._counter = 0
        self._version = 1
        self._listeners: list[Callable[[], None]] = []

    def put_image(self, stream: Stream, rgb: NDArray[np.uint8], stamp: float) -> None:
        """Newest picture of ``stream``; the array must not be changed afterwards.

        Raises ValueError unless it is uint8 [H, W, 3] RGB or [H, W] with pixels.
        """
        check_image(rgb)
        with self._lock:
            self._counter += 1
            self._pictures[stream] = Picture(self._counter, stamp, rgb, self._quality)
        self._tell()

    def set_session(self, session: Session) -> None:
        self._set("_session", session)

    def set_policy(self, status: PolicyStatus) -> None:
        self._set("_policy", status)

    def set_command(self, status: CommandStatus) -> None:
        self._set("_command", status)

    def set_arm(self, status: ArmStatus) -> None:
        self._set("_arm", status)

    def set_executed(self, points: Sequence[tuple[float, float]]) -> None:
        """The tool's measured path, (x, y) on the 0..255 grid of the external image."""
        self._set("_executed", tuple((float(x), float(y)) for x, y in points))

    def set_sketch(self, points: Sequence[tuple[float, float]]) -> None:
        """The person's path that steers now, on the 0..255 grid; empty when none does."""
        self._set("_sketch", tuple((float(x), float(y)) for x, y in points))

    def set_recorder(self, status: RecorderStatus | None) -> None:
        """None: there is no recorder, and the page shows no button for it."""
        self._set("_recorder", status)

    def set_tasks(self, status: TasksStatus | None) -> None:
        self._set("_tasks", status)

    def set_training(self, status: TrainingStatus | None) -> None:
        """None: nobody trains here, and the page shows nothing of it."""
        self._set("_training", status)

    def add_thought(self, thought: ThoughtView) -> None:
        """Append to the timeline; the oldest falls out."""
        with self._lock:
            self._counter += 1
            self._thoughts.append((self._counter, thought))
        self._tell()

    def picture(self, stream: Stream) -> Picture | None:
        """The newest picture, or None before the first one."""
        with self._lock:
            return self._pictures.get(stream)

    def snapshot(self, *, after_thought: int = 0) -> Snapshot:
        """Status, and the thoughts numbered higher than ``after_thought``."""
        with self._lock:
            parts = (self._session, self._policy, self._command, self._arm)
            executed, version = self._executed, self._version
            sketch, recorder, tasks = self._sketch, self._recorder, self._tasks
            training = self._training
            thoughts = tuple(item for item in self._thoughts if item[0] > after_thought)
        session, policy, command, arm = parts
        status: dict[str, object] = {
            "session": _plain(session),
            "policy": _plain(policy),
            "command": _plain(command),
            "arm": _plain(arm),
            "executed": finite_json(executed),
            "sketch": finite_json(sketch),
            "recorder": _plain(recorder),
            "tasks": _plain(tasks),
            "training": _plain(training),
            "words": _plain(in_words(policy, command, arm)),
        }
        return Snapshot(version, status, thoughts)

    def listen(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` after every change, from the writer's thread; returns the undo."""
        with self._lock:
            self._listeners.append(changed)

        def undo() -> None:
            with self._lock:
                if changed in self._listeners:
                    self._listeners.remove(changed)

        return undo

    def _set(self, name: str, value: object) -> None:
        with self._lock:
            if getattr(self, name) == value:
                return
            setattr(self, name, value)
            self._version += 1
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for changed in listeners:
            changed()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return finite_json(dataclasses.asdict(value))
    return None
