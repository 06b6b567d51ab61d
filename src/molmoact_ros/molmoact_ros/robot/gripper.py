"""The Franka hand in its own thread: libfranka's gripper calls block until the fingers stop.

Openings come in at any rate; what goes out are few, decided commands.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

CLOSE_BELOW = 0.35
OPEN_ABOVE = 0.65
DWELL_S = 0.6
OPEN_WIDTH_M = 0.078
SPEED_M_S = 0.1
FORCE_N = 40.0
EPSILON_M = 0.08
POLL_S = 0.03
RETRY_S = 1.0
STUCK_S = 5.0
"""The whole way takes 0.8 s at this speed; homing a cold hand about 3 s."""
STUCK_M = 0.003
OPEN_TOLERANCE_M = 0.01
LEAST_OBJECT_M = 0.002
"""Fingers closer together than this hold nothing."""


SHORT = {
    True: "gripper: the fingers did not close; look whether something holds them open",
    False: "gripper: the fingers did not open; look whether something holds them together",
}
STUCK = (
    f"gripper: the fingers have not finished after {STUCK_S:g} s; look what is between them, "
    "then home the hand in Desk"
)


class GripperDecider:
    """Hysteresis and dwell: an opening that wavers about 0.5 must not chatter the fingers.

    Times are seconds of the caller's clock.
    """

    def __init__(self) -> None:
        self._closed: bool | None = None
        self._wanted: bool | None = None
        self._decided_at = -DWELL_S

    def put(self, opening: float) -> None:
        """1 = open, 0 = closed. Raises ValueError outside 0..1 (NaN included)."""
        if not 0.0 <= opening <= 1.0:
            raise ValueError(f"gripper opening {opening}: send 0 (closed) .. 1 (open)")
        if opening < CLOSE_BELOW:
            self._wanted = True
        elif opening > OPEN_ABOVE:
            self._wanted = False

    def decide(self, now: float) -> bool | None:
        """True: close now, False: open now, None: nothing to do."""
        if self._wanted is None or self._wanted == self._closed:
            return None
        if now - self._decided_at < DWELL_S:
            return None
        self._closed, self._decided_at = self._wanted, now
        return self._closed

    def forget(self) -> None:
        """The last command did not reach the fingers; decide it again."""
        self._closed = None


@dataclass(frozen=True)
class GripperReading:
    """Width in metres, whether a command is being done, whether the last grasp ended with
    something between the fingers, and a problem in words or ""."""

    width: float = 0.0
    moving: bool = False
    holding: bool = False
    connected: bool = False
    detail: str = ""


class GripperThread:
    """Owns the gripper connection. ``connect`` makes a franky.Gripper or something like it.

    ``errors`` are the exceptions of that object which mean "connect again".
    """

    def __init__(self, connect: Callable[[], Any], errors: tuple[type[BaseException], ...]) -> None:
        self._connect, self._errors = connect, errors
        self._decider, self._lock = GripperDecider(), threading.Lock()
        self._reading = GripperReading()
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)

    @property
    def reading(self) -> GripperReading:
        return self._reading

    def start(self) -> None:
        self._running.set()
        self._thread.start()

    def close(self) -> None:
        self._running.clear()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def set_opening(self, opening: float) -> None:
        """1 = open, 0 = closed; returns at once. Raises ValueError outside 0..1."""
        with self._lock:
            self._decider.put(opening)

    def _run(self) -> None:
        while self._running.is_set():
            try:
                self._serve(self._connect())
            except self._errors as error:
                text = " ".join(str(error).split())
                detail = f"gripper: {text}; check that the hand is enabled in Desk, still trying"
                if not self._reading.detail:
                    logger.warning(detail)
                self._reading = GripperReading(self._reading.width, detail=detail)
                with self._lock:
                    self._decider.forget()
                time.sleep(RETRY_S)

    def _serve(self, gripper: Any) -> None:
        pending, close, since, began, detail = None, False, 0.0, 0.0, ""
        while self._running.is_set():
            now = time.monotonic()
            width = float(gripper.state.width)
            if pending is not None and pending.wait(0.0):
                done, pending = pending, None
                # A grasp with wide tolerances succeeds on fingers that never moved, too.
                short = abs(width - began) < STUCK_M and began > OPEN_WIDTH_M - STUCK_M
                opened = width > OPEN_WIDTH_M - OPEN_TOLERANCE_M
                well = done.get() and (not short if close else opened)
                detail = "" if well else SHORT[close]
                holding = close and width > LEAST_OBJECT_M and not detail
                self._reading = GripperReading(width, False, holding, True, detail)
                if detail:
                    logger.info(detail)
            with self._lock:
                # libfranka's next command would block until the running one has ended.
                decided = self._decider.decide(now) if pending is None else None
            if decided is not None:
                close, since, began, detail = decided, now, width, ""
                pending = (
                    gripper.grasp_async(0.0, SPEED_M_S, FORCE_N, EPSILON_M, EPSILON_M)
                    if close
                    else gripper.move_async(OPEN_WIDTH_M, SPEED_M_S)
                )
            if pending is not None and now - since > STUCK_S:
                detail = STUCK
            holding = self._reading.holding and pending is None and width > LEAST_OBJECT_M
            self._reading = GripperReading(width, pending is not None, holding, True, detail)
            time.sleep(POLL_S)
