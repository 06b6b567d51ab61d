"""Any topic as serialized bytes: subscriptions without decoding, emptied by one thread.

An executor would build a wait set of all entities for each of some hundred messages a second;
emptying every queue each 4 ms costs a tenth of that. The time of arrival comes from the
middleware, so the waiting does not show in a bag. The node of the subscriptions is never spun.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from molmoact_ros.bags.definitions import UnknownType, load_definition
from molmoact_ros.bags.metadata import Topic
from molmoact_ros.bags.topics import TopicSpec

POLL_S = 0.004
LOOK_S = 0.5
DEPTH = 200
"""Messages the middleware keeps while this process is held up: 2 s at 100 Hz."""
IMAGE_DEPTH = 30
OnMessage = Callable[[str, int, int, bytes], None]
"""Topic, arrival and publication in nanoseconds of the wall clock, serialized message."""


class RawTopics:
    """Subscribes when a publisher appears, with the QoS it offers, as ``ros2 bag record`` does."""

    def __init__(
        self,
        context: Context,
        specs: Sequence[TopicSpec],
        on_topic: Callable[[Topic], None],
        on_message: OnMessage,
    ) -> None:
        self._node = Node(
            "_recorder_raw",
            context=context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._specs = tuple(specs)
        self._on_topic, self._on_message = on_topic, on_message
        self._open: dict[str, tuple[Topic, Subscription, Any]] = {}
        self.problems: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raw topics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.ident:
            self._thread.join(timeout=5.0)
        self._node.destroy_node()

    def _run(self) -> None:
        look_at = 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if now >= look_at:
                self._look()
                look_at = now + LOOK_S
            self._drain()
            self._stop.wait(POLL_S)

    def _drain(self) -> None:
        for name, (_, subscription, kind) in list(self._open.items()):
            with subscription.handle:
                take = subscription.handle.take_message
                while (taken := take(kind, True)) is not None:
                    data, info = taken
                    arrival = info["received_timestamp"] or time.time_ns()
                    self._on_message(name, arrival, info["source_timestamp"] or arrival, data)

    def _look(self) -> None:
        """Subscribe to what has appeared; again when a publisher with other QoS came."""
        for spec in self._specs:
            offers = self._node.get_publishers_info_by_topic(spec.name)
            offers = [offer for offer in offers if offer.topic_type == spec.type]
            if not offers:
                continue
            profiles = [offer.qos_profile for offer in offers]
            reliable = all(q.reliability == ReliabilityPolicy.RELIABLE for q in profiles)
            latched = reliable and all(
                q.durability == DurabilityPolicy.TRANSIENT_LOCAL for q in profiles
            )
            known = self._open.get(spec.name)
            if known and (known[0].reliable, known[0].latched) == (reliable, latched):
                continue
            self._subscribe(spec, reliable, latched, max(1, profiles[0].depth))

    def _subscribe(self, spec: TopicSpec, reliable: bool, latched: bool, depth: int) -> None:
        try:
            definition = load_definition(spec.type)
            package, _, name = spec.type.split("/")
            kind = getattr(importlib.import_module(f"{package}.msg"), name)
        except (UnknownType, ImportError, AttributeError) as error:
            self.problems[spec.name] = f"{spec.name} is not recorded: {error}"
            return
        old = self._open.pop(spec.name, None)
        if old is not None:
            self._node.destroy_subscription(old[1])
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=IMAGE_DEPTH if spec.type.startswith("sensor_msgs/msg/Im") else DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=(DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE),
        )
        topic = Topic(spec.name, spec.type, definition.hash, reliable, latched, depth)
        self._on_topic(topic)
        subscription = self._node.create_subscription(
            kind, spec.name, lambda _: None, profile, raw=True
        )
        self._open[spec.name] = (topic, subscription, subscription.msg_type)
