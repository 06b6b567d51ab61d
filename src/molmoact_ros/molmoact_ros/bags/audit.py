"""Are the topics healthy, now? Arrival times in; rates, gaps, ages and sentences out.

Times are monotonic seconds, so a clock that is set does not look like a gap. Nothing here knows
ROS or threads: the recorder calls ``seen`` for every message and ``reports`` twice a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from molmoact_ros.bags.topics import TopicSpec

WINDOW_S = 2.0
LOST_S = 1.0
"""A required topic silent for longer ends a take."""
LOW_RATE = 0.8
"""Below this share of the expected rate an operator is told."""
LATE_S = 0.5
"""A stamp this far from the arrival means a wrong clock or a stuck driver."""
CLOCK_JUMP_S = 0.2


class Level(IntEnum):
    """Values of TopicHealth."""

    OK = 0
    WARN = 1
    MISSING = 2


@dataclass(frozen=True)
class Report:
    """One topic at one moment; fields as in TopicHealth."""

    topic: str
    level: Level
    required: bool
    rate: float
    expected_rate: float
    longest_gap: float
    age: float
    messages: int
    dropped: int
    detail: str


class TopicAudit:
    """Counts one topic. ``begin`` starts an episode."""

    def __init__(self, spec: TopicSpec) -> None:
        self.spec = spec
        self._arrivals: deque[float] = deque()
        self._last: float | None = None
        self._since = 0.0
        self._gap = 0.0
        self._lateness = 0.0
        self.messages = 0
        self.dropped = 0

    def begin(self, now: float) -> None:
        self.messages = self.dropped = 0
        self._gap, self._since = 0.0, now

    def seen(self, now: float, lateness: float | None = None) -> None:
        """A message arrived. lateness: arrival minus its stamp in seconds; None: no stamp."""
        if self._last is not None:
            self._gap = max(self._gap, now - max(self._last, self._since))
        self._last = now
        self.messages += 1
        self._arrivals.append(now)
        if lateness is not None:
            self._lateness = lateness
        while self._arrivals[0] < now - WINDOW_S:
            self._arrivals.popleft()

    def age(self, now: float) -> float | None:
        """Seconds since the last message, None before the first."""
        return None if self._last is None else now - self._last

    def lost(self, now: float) -> bool:
        """Whether a required topic has been silent for too long."""
        age = self.age(now)
        patience = max(LOST_S, 3.0 / self.spec.rate if self.spec.rate else LOST_S)
        return self.spec.required and (age is None or age > patience)

    def rate(self, now: float) -> float:
        """Hz over the last window."""
        while self._arrivals and self._arrivals[0] < now - WINDOW_S:
            self._arrivals.popleft()
        count = len(self._arrivals)
        if count < 2:
            return count / WINDOW_S
        # Between first and last when they span the window; a stream that stops must fall to 0.
        span = max(self._arrivals[-1] - self._arrivals[0], now - self._arrivals[0] - 0.5)
        return (count - 1) / span if span > 0 else count / WINDOW_S

    def report(self, now: float) -> Report:
        age = self.age(now)
        rate = self.rate(now)
        gap = self._gap if age is None else max(self._gap, now - max(now - age, self._since))
        level, detail = self._judge(rate, age, now)
        return Report(
            topic=self.spec.name,
            level=level,
            required=self.spec.required,
            rate=rate,
            expected_rate=self.spec.rate,
            longest_gap=gap if self.spec.rate else 0.0,
            age=-1.0 if age is None else age,
            messages=self.messages,
            dropped=self.dropped,
            detail=detail,
        )

    def _judge(self, rate: float, age: float | None, now: float) -> tuple[Level, str]:
        spec = self.spec
        if not spec.rate and not spec.required:
            return self._stamps()
        if age is None:
            return Level.MISSING, f"{spec.name}: nothing received yet; check that its node runs"
        if self.lost(now) or (spec.rate and age > max(LOST_S, 5.0 / spec.rate)):
            return Level.MISSING, f"{spec.name}: silent for {age:.1f} s; check cable and driver"
        if self.dropped:
            return Level.WARN, (
                f"{spec.name}: {self.dropped} messages could not be written; the disk or the "
                "compression is too slow: close other programs or lower the frame rate"
            )
        if spec.rate and rate < LOW_RATE * spec.rate and self.messages > 2:
            return Level.WARN, (
                f"{spec.name}: {rate:.1f} Hz instead of {spec.rate:.0f}; check USB port, exposure "
                "time and the computer's load"
            )
        return self._stamps()

    def _stamps(self) -> tuple[Level, str]:
        if abs(self._lateness) <= LATE_S:
            return Level.OK, ""
        order = "behind" if self._lateness > 0 else "ahead of"
        return Level.WARN, (
            f"{self.spec.name}: stamps are {abs(self._lateness):.1f} s {order} this computer's "
            "clock; synchronise both clocks (chrony) or restart the driver"
        )


class ClockWatch:
    """Tells when the wall clock is set while we record."""

    def __init__(self) -> None:
        self._offset: float | None = None
        self.jumped = 0.0

    def look(self, wall: float, monotonic: float) -> float:
        """Seconds the wall clock jumped since the last look, 0 when it did not."""
        offset = wall - monotonic
        jump = 0.0 if self._offset is None else offset - self._offset
        self._offset = offset
        if abs(jump) < CLOCK_JUMP_S:
            return 0.0
        self.jumped += jump
        return jump


def start_refusal(audits: Sequence[TopicAudit], now: float) -> str:
    """Why a take must not start now; empty when it may."""
    silent = [a.report(now).detail for a in audits if a.lost(now)]
    if not silent:
        return ""
    return "not started: " + "; ".join(silent)


def warnings(reports: Sequence[Report]) -> list[str]:
    """What to tell the operator, worst first."""
    told = [r for r in reports if r.detail]
    return [r.detail for r in sorted(told, key=lambda r: -r.required * 10 - r.level)]


def disk_seconds(bytes_free: int, bytes_per_second: float, reserve: int) -> float:
    """How long the disk lasts at this rate, in seconds; -1 when nothing flows yet."""
    if bytes_per_second <= 0.0:
        return -1.0
    return max(0.0, (bytes_free - reserve) / bytes_per_second)
