"""Fine-tuning from the page: start, stop and progress of the trainer node's action.

The page names no folder: its goal is empty, and the trainer takes its own parameters. Goals of
others are shown and stopped as well: it listens to the action's topics, not to its own goal only.
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
from molmoact_ros.nodes.runtime import LATCHED_QOS
from molmoact_ros.web.page import PageError, PageState
from molmoact_ros.web.status import TrainingStatus

ANSWER_S = 5.0
_ACTION = "trainer/fine_tune"
_CANCEL, _RESULT = FineTune.Impl.CancelGoalService, FineTune.Impl.GetResultService
_LOST = "The trainer is gone; its run continues from the last checkpoint when it is started again."
_REFUSED = (
    "the trainer refused: it is busy, or its parameters data, out and base (or size) do not fit; "
    "its log says which"
)


class PageTraining:
    """``start`` and ``stop`` are called from the page's threads, the rest by the executor."""

    def __init__(self, node: Node, state: PageState) -> None:
        self._state, self._lock = state, threading.Lock()
        self._client = ActionClient(node, FineTune, _ACTION)
        self._cancel = node.create_client(_CANCEL, f"{_ACTION}/_action/cancel_goal")
        self._results = node.create_client(_RESULT, f"{_ACTION}/_action/get_result")
        node.create_subscription(
            FineTune.Impl.FeedbackMessage, f"{_ACTION}/_action/feedback", self._on_feedback, 10
        )
        node.create_subscription(
            FineTune.Impl.GoalStatusMessage,
            f"{_ACTION}/_action/status",
            self._on_status,
            LATCHED_QOS,
        )
        self._goal: Any = None
        self._ended: Any = None
        self._seen: TrainingStatus | None = None
        node.create_timer(1.0, self._look)

    def start(self) -> str:
        """Send the trainer its own goal. Raises PageError."""
        if not self._client.server_is_ready():
            raise PageError("no trainer: ros2 run molmoact_ros trainer")
        if self._goal is not None:
            raise PageError("it trains already")
        answered = threading.Event()
        future = self._client.send_goal_async(FineTune.Goal())
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER_S):
            raise PageError(f"the trainer did not answer within {ANSWER_S:.0f} s")
        handle = future.result()
        if not handle.accepted:
            raise PageError(_REFUSED)
        self._follow(handle.goal_id)
        return "Fine-tuning has started"

    def stop(self) -> str:
        """Save and end, whoever started it. Raises PageError."""
        goal = self._goal
        if goal is None:
            raise PageError("nothing is training")
        request = _CANCEL.Request()
        request.goal_info.goal_id = goal
        self._cancel.call_async(request)
        return "Fine-tuning saves and ends"

    def _on_status(self, message: Any) -> None:
        for one in message.status_list:
            if one.status in (one.STATUS_ACCEPTED, one.STATUS_EXECUTING, one.STATUS_CANCELING):
                self._follow(one.goal_info.goal_id)

    def _follow(self, goal: Any) -> None:
        """Show this goal and ask for its result; late news of one that has ended are ignored."""
        with self._lock:
            if goal in (self._goal, self._ended):
                return
            self._goal = goal
        self._show(TrainingStatus(running=True))
        future = self._results.call_async(_RESULT.Request(goal_id=goal))
        future.add_done_callback(lambda done: self._on_end(goal, done))

    def _on_feedback(self, message: Any) -> None:
        self._follow(message.goal_id)
        seen = message.feedback
        if message.goal_id == self._goal:
            self._show(
                TrainingStatus(
                    True, seen.step, seen.steps, round(convert.seconds(seen.left)), seen.loss
                )
            )

    def _on_end(self, goal: Any, future: Future) -> None:
        with self._lock:
            if goal != self._goal:
                return
            self._goal, self._ended = None, goal
        result = future.result().result
        before = self._seen or TrainingStatus()
        self._show(replace(before, running=False, step=result.step, message=result.message))

    def _look(self) -> None:
        """Shown while a trainer is there; a run whose trainer died is over."""
        if self._client.server_is_ready():
            self._show(self._seen or TrainingStatus())
        elif self._goal is not None:
            with self._lock:
                self._goal, self._ended = None, self._goal
            self._show(replace(self._seen or TrainingStatus(), running=False, message=_LOST))
        elif self._seen is not None and not self._seen.message:
            self._show(None)

    def _show(self, status: TrainingStatus | None) -> None:
        self._seen = status
        self._state.set_training(status)
