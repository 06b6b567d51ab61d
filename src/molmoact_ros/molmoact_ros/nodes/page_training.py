"""Fine-tuning from the page: start, stop and progress of the trainer node's action.

The page names no folder: the goal is empty, and the trainer takes its own parameters.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from molmoact_msgs.action import FineTune
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future

from molmoact_ros.nodes import convert
from molmoact_ros.web.page import PageError, PageState
from molmoact_ros.web.status import TrainingStatus

ANSWER_S = 5.0
_LOST = "The trainer is gone; its run continues from the last checkpoint when it is started again."
_REFUSED = (
    "the trainer refused: it is busy, or its parameters data, out and base (or size) do not fit; "
    "its log says which"
)


class PageTraining:
    """``start`` and ``stop`` are called from the page's threads, the rest by the executor."""

    def __init__(self, node: Node, state: PageState) -> None:
        self._state = state
        self._client = ActionClient(node, FineTune, "trainer/fine_tune")
        self._handle: Any = None
        self._seen: TrainingStatus | None = None
        node.create_timer(1.0, self._look)

    def start(self) -> str:
        """Send the trainer its own goal. Raises PageError."""
        if not self._client.server_is_ready():
            raise PageError("no trainer: ros2 run molmoact_ros trainer")
        if self._handle is not None:
            raise PageError("it trains already")
        answered = threading.Event()
        future = self._client.send_goal_async(FineTune.Goal(), self._on_feedback)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER_S):
            raise PageError(f"the trainer did not answer within {ANSWER_S:.0f} s")
        handle = future.result()
        if not handle.accepted:
            raise PageError(_REFUSED)
        self._handle = handle
        self._show(TrainingStatus(running=True))
        handle.get_result_async().add_done_callback(self._on_end)
        return "Fine-tuning has started"

    def stop(self) -> str:
        """Save and end. Raises PageError."""
        if self._handle is None:
            raise PageError("nothing that was started here is training")
        self._handle.cancel_goal_async()
        return "Fine-tuning saves and ends"

    def _on_feedback(self, message: Any) -> None:
        seen = message.feedback
        if self._handle is not None:
            self._show(
                TrainingStatus(
                    True, seen.step, seen.steps, round(convert.seconds(seen.left)), seen.loss
                )
            )

    def _on_end(self, future: Future) -> None:
        self._handle = None
        result = future.result().result
        before = self._seen or TrainingStatus()
        self._show(replace(before, running=False, step=result.step, message=result.message))

    def _look(self) -> None:
        """Shown while a trainer is there; a run whose trainer died is over."""
        if self._client.server_is_ready():
            self._show(self._seen or TrainingStatus())
        elif self._handle is not None:
            self._handle = None
            self._show(replace(self._seen or TrainingStatus(), running=False, message=_LOST))
        elif self._seen is not None and not self._seen.message:
            self._show(None)

    def _show(self, status: TrainingStatus | None) -> None:
        self._seen = status
        self._state.set_training(status)
