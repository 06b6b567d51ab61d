"""Drained topics: the executor leaves them alone, and nothing is lost or turned round."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64

from molmoact_ros.nodes.drained import Drained

DEPTH = 20


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=87)
    made = Node("drained_test", context=context)
    yield made
    made.destroy_node()
    context.try_shutdown()


def spin(node: Node, seconds: float) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()


def test_messages_wait_for_the_drain_and_keep_their_order(node: Node) -> None:
    heard: list[float] = []
    served: list[float] = []
    drained = Drained(node)
    drained.subscribe(Float64, "often", lambda m: heard.append(m.data), QoSProfile(depth=DEPTH))
    node.create_subscription(Float64, "often", lambda m: served.append(m.data), DEPTH)
    publisher = node.create_publisher(Float64, "often", DEPTH)
    spin(node, 0.5)
    for number in range(5):
        publisher.publish(Float64(data=float(number)))
    spin(node, 0.5)
    assert served == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert heard == []
    drained.drain()
    assert heard == served
    drained.drain()
    assert heard == served, "a message was handed on twice"


def test_of_a_full_queue_the_newest_are_kept(node: Node) -> None:
    heard: list[float] = []
    drained = Drained(node)
    drained.subscribe(Float64, "often", lambda m: heard.append(m.data), QoSProfile(depth=3))
    publisher = node.create_publisher(Float64, "often", DEPTH)
    spin(node, 0.5)
    for number in range(9):
        publisher.publish(Float64(data=float(number)))
    spin(node, 0.5)
    drained.drain()
    assert heard == [6.0, 7.0, 8.0]
