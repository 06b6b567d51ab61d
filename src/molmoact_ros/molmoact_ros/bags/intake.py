"""Messages on their way from the subscriptions into the running take, audited as they pass."""

from __future__ import annotations

import time
from collections.abc import Sequence

from molmoact_ros.bags.audit import Report, TopicAudit, start_refusal
from molmoact_ros.bags.cdr import BadCdr, read_stamp_ns
from molmoact_ros.bags.definitions import load_definition
from molmoact_ros.bags.live_context import LiveContext
from molmoact_ros.bags.metadata import Topic
from molmoact_ros.bags.take import Take
from molmoact_ros.bags.topics import TopicSpec

HELD_UP_NS = 10**9
"""An arrival further back, or ahead, means that the wall clock was set meanwhile."""


class Intake:
    """``on_topic`` and ``on_message`` belong to one thread, the rest to another."""

    def __init__(self, specs: Sequence[TopicSpec]) -> None:
        self.context = LiveContext()
        self._audits = {spec.name: TopicAudit(spec) for spec in specs}
        self._topics: dict[str, Topic] = {}
        self._stamped: dict[str, bool] = {}
        self._take: Take | None = None
        self._started = 0.0
        self._wall_start_ns = 0

    @property
    def topics(self) -> tuple[Topic, ...]:
        """Everything subscribed so far."""
        return tuple(self._topics.values())

    def on_topic(self, topic: Topic) -> None:
        """A topic is subscribed from now on. Raises UnknownType."""
        spec = self._audits[topic.name].spec
        self._topics[topic.name] = topic
        self._stamped[topic.name] = spec.rate > 0 and load_definition(topic.type).stamped
        take = self._take
        if take is not None:
            take.add_topic(topic)

    def on_message(self, name: str, arrival_ns: int, publish_ns: int, data: bytes) -> None:
        """One message; times in nanoseconds of the wall clock. Never blocks."""
        behind = time.time_ns() - arrival_ns
        arrival = time.monotonic() - (behind * 1e-9 if 0 <= behind <= HELD_UP_NS else 0.0)
        self._audits[name].seen(arrival, self._lateness(name, arrival_ns, data))
        self.context.keep(self._topics[name], publish_ns, data)
        take = self._take
        if take is not None:
            take.put(name, self.log_ns(arrival), publish_ns, data)

    def log_ns(self, moment: float) -> int:
        """The bag's time of a monotonic moment. It runs on when the wall clock is set, so that
        an episode is neither torn nor reordered."""
        return self._wall_start_ns + max(0, int((moment - self._started) * 1e9))

    def set_start(self, now: float) -> None:
        """A take begins at monotonic ``now``: counts and gaps start again."""
        self._started, self._wall_start_ns = now, time.time_ns()
        for audit in self._audits.values():
            audit.begin(now)

    def connect(self, take: Take) -> None:
        """Messages go to ``take`` from now on, the latched ones first."""
        start_ns = self.log_ns(self._started)
        for topic, publish_ns, data in self.context.latched():
            take.put(topic, start_ns, publish_ns, data)
        self._take = take

    def disconnect(self) -> None:
        self._take = None

    def refusal(self, now: float) -> str:
        """Why an episode must not start at ``now``; empty when it may."""
        return start_refusal(tuple(self._audits.values()), now)

    def lost(self, now: float) -> str:
        """Which required topic is lost, in words; empty while none is."""
        lost = [audit for audit in self._audits.values() if audit.lost(now)]
        return lost[0].report(now).detail if lost else ""

    def reports(self, now: float, take: Take | None) -> tuple[Report, ...]:
        """The audit of every topic; ``take`` knows what was dropped."""
        if take is not None:
            for name, audit in self._audits.items():
                audit.dropped = take.dropped[name]
        return tuple(audit.report(now) for audit in self._audits.values())

    def _lateness(self, name: str, arrival_ns: int, data: bytes) -> float | None:
        if not self._stamped.get(name):
            return None
        try:
            return (arrival_ns - read_stamp_ns(data)) * 1e-9
        except BadCdr:
            return None
