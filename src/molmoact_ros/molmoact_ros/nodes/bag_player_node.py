"""Plays a bag into live topics, without rosbag2: ``molmoact bag play BAG``.

Messages are published as the bytes they were recorded as, with the QoS they had; pictures are
expanded to raw images first, so that policy, viewer and page take them for a camera's.
"""

from __future__ import annotations

import importlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from molmoact_ros.bags.definitions import UnknownType, load_definition
from molmoact_ros.bags.metadata import BadBag, Topic
from molmoact_ros.bags.pictures import COMPRESSED, IMAGE
from molmoact_ros.bags.reader import BagMessage, BagReader
from molmoact_ros.bags.schedule import (
    Playback,
    expanded,
    moves_an_arm,
    original_name,
    paced,
    restamped,
)

MATCH_S = 1.0
"""Discovery needs a moment; messages published before it would be lost."""


@dataclass(frozen=True)
class PlayOptions:
    """commands: also play topics that move an arm. restamp: stamps become now."""

    playback: Playback
    commands: bool = False
    raw_pictures: bool = True
    restamp: bool = False
    loop: bool = False
    topics: tuple[str, ...] = ()


class BagPlayer:
    """Owns a node and its publishers. ``play`` blocks; ``stop`` may come from another thread."""

    def __init__(self, path: Path, options: PlayOptions, node: Node) -> None:
        """Raises BadBag when the bag is unreadable or holds nothing to play."""
        self._reader = BagReader(path)
        self._options, self._node = options, node
        self._stop = threading.Event()
        self.skipped: dict[str, str] = {}
        self._publishers: dict[str, Publisher] = {}
        self._stamped: dict[str, bool] = {}
        for topic in self._reader.topics.values():
            self._offer(topic)
        if not self._publishers:
            raise BadBag(f"{path}: nothing to play ({self.skipped}); use --commands or --topics")

    def play(self) -> int:
        """Number of messages published."""
        self._stop.wait(MATCH_S)
        count = 0
        while not self._stop.is_set():
            options = self._options
            first = self._reader.start_ns + int(options.playback.start * 1e9)
            messages = self._reader.messages(self._publishers, start_ns=first)
            for message in paced(messages, first, options.playback, sleep=self._wait):
                if self._stop.is_set():
                    break
                self._publish(message)
                count += 1
            if not options.loop:
                break
        return count

    def stop(self) -> None:
        self._stop.set()

    def _wait(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _offer(self, topic: Topic) -> None:
        options, name, type_ = self._options, topic.name, topic.type
        if moves_an_arm(name) and not options.commands:
            self.skipped[name] = "it moves an arm; --commands plays it"
            return
        if options.topics and original_name(name) not in options.topics:
            return
        if type_ == COMPRESSED and options.raw_pictures:
            name, type_ = original_name(name), IMAGE
        try:
            package, _, short = type_.split("/")
            kind = getattr(importlib.import_module(f"{package}.msg"), short)
            installed = load_definition(type_)
        except (ImportError, AttributeError, ValueError, UnknownType) as error:
            self.skipped[topic.name] = f"type {type_} is not installed: {error}"
            return
        if type_ == topic.type and topic.hash and topic.hash != installed.hash:
            self.skipped[topic.name] = f"{type_} was recorded with another definition"
            return
        reliable = ReliabilityPolicy.RELIABLE if topic.reliable else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(
            depth=max(topic.depth, 10),
            history=HistoryPolicy.KEEP_LAST,
            reliability=reliable,
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
            ),
        )
        self._publishers[topic.name] = self._node.create_publisher(kind, name, profile)
        self._stamped[topic.name] = installed.stamped

    def _publish(self, message: BagMessage) -> None:
        publisher = self._publishers[message.topic]
        stamped = self._stamped[message.topic]
        data = (expanded(message) if self._options.raw_pictures else message).data
        if self._options.restamp and stamped:
            data = restamped(data, time.time_ns())
        publisher.publish(data)


def play(path: Path, options: PlayOptions) -> tuple[int, dict[str, str]]:
    """Play a bag from start to end: (messages published, what was skipped and why).

    Raises BadBag.
    """
    rclpy.init()
    node = Node("bag_player", start_parameter_services=False)
    try:
        player = BagPlayer(path, options, node)
        return player.play(), player.skipped
    except KeyboardInterrupt:
        return 0, {}
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
