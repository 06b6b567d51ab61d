"""What a person puts on a running goal: a drawn path, and yes or no to a plan.

The operator's side may be called from any thread; the goal's side from the goal's thread.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable

from molmoact_ros.reasoning.sketch import Sketch

FORGOTTEN_AFTER_S = 60.0
"""A path drawn while nothing runs waits this long for its goal."""
POLL_S = 0.05


class Decision(enum.Enum):
    """What the operator says to a plan."""

    APPROVE = "approve"
    RETHINK = "rethink"
    REJECT = "reject"


class OperatorDesk:
    """One goal's sketch and pending plan. ``now``: seconds of the sensors' clock."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._sketch: Sketch | None = None
        self._drawn_at = 0.0
        self._running = False
        self._interrupt: float | None = None
        self._plan: int | None = None
        self._decision: Decision | None = None

    # The operator's side

    @property
    def sketch(self) -> Sketch | None:
        """The path that steers the next thought, or None."""
        with self._changed:
            return self._sketch

    def steer(self, sketch: Sketch, preempt: bool) -> None:
        """Steer from now on. preempt: a thought under way is dropped and thought anew.

        A plan that waits for approval is always thought anew: it was made without the path.
        """
        with self._changed:
            self._sketch, self._drawn_at = sketch, self._now()
            if self._running and preempt:
                self._interrupt = self._drawn_at
            if self._plan is not None:
                self._decision = Decision.RETHINK
            self._changed.notify_all()

    def clear(self) -> bool:
        """Stop steering; whether there was anything to clear."""
        with self._changed:
            had, self._sketch = self._sketch is not None, None
            return had

    def decide(self, plan: int, decision: Decision) -> str:
        """Answer the pending plan. Returns "" or why the answer is refused."""
        with self._changed:
            if self._plan is None:
                return "no plan waits for approval"
            if plan != self._plan:
                return f"plan {plan} is no longer pending, plan {self._plan} is; look at it first"
            if self._decision is not None:
                return f"plan {plan} is already answered: {self._decision.value}"
            self._decision = decision
            self._changed.notify_all()
            return ""

    # The goal's side

    def begin(self) -> None:
        """A goal starts; a path drawn shortly before steers it."""
        with self._changed:
            if self._now() - self._drawn_at > FORGOTTEN_AFTER_S:
                self._sketch = None
            self._running, self._interrupt = True, None

    def end(self) -> None:
        """The goal ends, and its path with it: the next one is another task."""
        with self._changed:
            self._sketch = self._interrupt = self._plan = self._decision = None
            self._running = False

    def interrupted(self) -> bool:
        """Whether a new path makes the thought under way useless."""
        with self._changed:
            return self._interrupt is not None

    def take_interrupt(self) -> float:
        """When the interrupting path came (0: none did); there is none afterwards."""
        with self._changed:
            when, self._interrupt = self._interrupt, None
            return when or 0.0

    def used(self, sketch: Sketch) -> None:
        """A thought followed this path; one for a single chunk is done."""
        with self._changed:
            if self._sketch is sketch and not sketch.until_cleared:
                self._sketch = None

    def ask(self, plan: int, canceled: Callable[[], bool]) -> Decision | None:
        """Wait for the answer to ``plan``; None when the goal was canceled meanwhile."""
        with self._changed:
            self._plan, self._decision = plan, None
            try:
                while not canceled():
                    if self._changed.wait_for(lambda: self._decision is not None, POLL_S):
                        return self._decision
                return None
            finally:
                self._plan = self._decision = None
