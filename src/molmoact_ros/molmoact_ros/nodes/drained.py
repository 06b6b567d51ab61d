"""Subscriptions that are emptied when their messages are needed, instead of one by one.

rclpy's executor builds its wait set anew for every message it serves: a node with a dozen services
holds Python's lock from the thread that thinks meanwhile. Poses come far more often than pictures,
and are looked at with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

Message = TypeVar("Message")


class _Never(CallbackGroup):
    """Keeps what is in it out of the executor's wait set."""

    def can_execute(self, entity: object) -> bool:
        return False

    def beginning_execution(self, entity: object) -> bool:
        return False

    def ending_execution(self, entity: object) -> None:
        pass


class Drained:
    """Queues of topics that ``drain`` empties; the middleware drops the oldest of a full one.

    Call ``drain`` in the thread that destroys the node.
    """

    def __init__(self, node: Node) -> None:
        self._node, self._group = node, _Never()
        self._queues: list[tuple[Any, Callable[[Any], None]]] = []

    def subscribe(
        self,
        kind: type[Message],
        topic: str,
        callback: Callable[[Message], None],
        profile: QoSProfile,
    ) -> None:
        """``callback`` gets every message of ``topic`` at the next ``drain``, oldest first."""
        subscription = self._node.create_subscription(
            kind, topic, callback, profile, callback_group=self._group
        )
        self._queues.append((subscription, callback))

    def drain(self) -> None:
        """Hand on what has come since the last time."""
        for subscription, callback in self._queues:
            with subscription.handle:
                while taken := subscription.handle.take_message(subscription.msg_type, False):
                    callback(taken[0])
