"""What the page may ask of the robot, as ROS service calls. Called from the page's threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from molmoact_msgs.msg import ArmStatus, VisualTrace
from molmoact_msgs.srv import (
    LabelEpisode,
    ReviewPlan,
    SelectSource,
    SelectTask,
    StartEpisode,
    StartInstruction,
    SteerTrace,
)
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.page_training import PageTraining
from molmoact_ros.nodes.runtime import LATCHED_QOS, SENSOR_QOS
from molmoact_ros.web.page import Drawn, PageError

MODES = {
    "auto": StartInstruction.Request.AUTO,
    "review": StartInstruction.Request.REVIEW,
    "shadow": StartInstruction.Request.SHADOW,
}
SOURCES = {"hold": 0, "policy": 1, "teleop": 2}
"""CommandStatus.SOURCE_* by the page's words."""
DECISIONS = {
    "approve": ReviewPlan.Request.APPROVE,
    "rethink": ReviewPlan.Request.RETHINK,
    "reject": ReviewPlan.Request.REJECT,
}
LABELS = {
    "success": LabelEpisode.Request.SUCCESS,
    "failure": LabelEpisode.Request.FAILURE,
    "discard": LabelEpisode.Request.DISCARD,
}
_FIND_S = 2.0


class RosCommands:
    """Implements web.page.PageCommands. Futures are completed by the node's executor."""

    def __init__(self, node: Node, training: PageTraining, timeout: float = 3.0) -> None:
        self._training, self._timeout = training, timeout
        client = node.create_client
        self._start = client(StartInstruction, "policy/start")
        self._cancel = client(Trigger, "policy/cancel")
        self._stop = client(Trigger, "commander/stop")
        self._reset = client(Trigger, "commander/reset")
        self._select = client(SelectSource, "commander/select_source")
        self._home = client(Trigger, "franka/home")
        self._recover = client(Trigger, "franka/recover")
        self._arm = client(Trigger, "franka/arm")
        self._armed, self._faulty = False, False
        node.create_subscription(ArmStatus, "arm_status", self._on_arm, LATCHED_QOS)
        self._scene = client(Trigger, "sim_cameras/reset_scene")
        self._steer = client(SteerTrace, "policy/steer_trace")
        self._clear = client(Trigger, "policy/clear_steering")
        self._review = client(ReviewPlan, "policy/review_plan")
        self._joy = node.create_publisher(Joy, "teleop/page", SENSOR_QOS)
        self._record = client(StartEpisode, "recorder/start")
        self._label = client(LabelEpisode, "recorder/label_episode")
        self._task = client(SelectTask, "recorder/select_task")
        self._recorder = {
            "stop": client(Trigger, "recorder/stop"),
            "redo": client(Trigger, "recorder/redo"),
            "scene_changed": client(Trigger, "recorder/scene_changed"),
        }

    def start(self, instruction: str, mode: str) -> str:
        if mode not in MODES:
            raise PageError(f"mode '{mode}' is not available; use {' or '.join(MODES)}")
        if mode != "shadow":
            answer = self._call(self._select, SelectSource.Request(source=SOURCES["policy"]))
            if not answer.accepted:
                raise PageError(f"{answer.message}: press Reset first")
        request = StartInstruction.Request(instruction=instruction, mode=MODES[mode])
        return self._accepted(self._start, request)

    def stop(self) -> str:
        # The commander first: it holds the arm at once; the policy may take its time.
        try:
            answer = self._call(self._stop, Trigger.Request(), find=0.0)
        finally:
            if self._cancel.service_is_ready():
                self._cancel.call_async(Trigger.Request())
        return str(answer.message)

    def reset(self) -> str:
        """Leave a stop. A person has looked: a fault is cleared and the arm follows again."""
        words = [str(self._call(self._reset, Trigger.Request()).message)]
        # Another driver (CRISP, MoveIt Servo) arms itself and offers neither.
        if self._faulty and self._recover.service_is_ready():
            words.append(self._trigger(self._recover, timeout=10.0))
        if not self._armed and self._arm.service_is_ready():
            words.append(self._trigger(self._arm, timeout=10.0))
        return "; ".join(words)

    def home(self) -> str:
        """Slowly home; an arm that followed before follows again there."""
        if self._cancel.service_is_ready():
            self._call(self._cancel, Trigger.Request(), timeout=12.0)
        armed, words = self._armed, self._trigger(self._home, timeout=30.0)
        if armed:
            self._trigger(self._arm, timeout=10.0)
        return words

    def _on_arm(self, message: ArmStatus) -> None:
        self._armed, self._faulty = message.armed, bool(message.errors)

    def new_scene(self) -> str:
        return self._trigger(self._scene)

    def steer(self, drawn: Drawn) -> str:
        header = Header(stamp=convert.to_time(drawn.stamp), frame_id="external_color_optical_frame")
        trace = convert.trace_message(
            drawn.points,
            header,
            source=VisualTrace.SOURCE_HUMAN,
            image_width=drawn.width,
            image_height=drawn.height,
        )
        lifetime = SteerTrace.Request.NEXT_CHUNK
        if drawn.until_cleared:
            lifetime = SteerTrace.Request.UNTIL_CLEARED
        # A stroke is a change of mind: what is left of the old plan is not run.
        request = SteerTrace.Request(trace=trace, lifetime=lifetime, preempt=True)
        return self._accepted(self._steer, request)

    def clear(self) -> str:
        return self._trigger(self._clear)

    def review(self, plan: int, choice: str) -> str:
        request = ReviewPlan.Request(chunk_id=plan, decision=DECISIONS[choice])
        return self._accepted(self._review, request)

    def record(self, choice: str, task: str) -> str:
        if choice == "start":
            return self._accepted(self._record, StartEpisode.Request(task=task), timeout=10.0)
        if choice == "next_task":
            return self._accepted(self._task, SelectTask.Request(index=SelectTask.Request.NEXT))
        if choice in LABELS:
            request = LabelEpisode.Request(outcome=LABELS[choice])
            return self._accepted(self._label, request, timeout=10.0)
        return self._trigger(self._recorder[choice], timeout=10.0)

    def hand(self, choice: str) -> str:
        return self._accepted(self._select, SelectSource.Request(source=SOURCES[choice]))

    def train(self, choice: str) -> str:
        return self._training.start() if choice == "start" else self._training.stop()

    def jog(self, axes: Sequence[float], buttons: Sequence[bool]) -> None:
        """To the teleop node, which has the dead-man switch and the speed limits."""
        message = Joy(axes=[float(a) for a in axes], buttons=[int(b) for b in buttons])
        self._joy.publish(message)

    def _accepted(self, client: Client, request: Any, timeout: float | None = None) -> str:
        answer = self._call(client, request, timeout)
        if not answer.accepted:
            raise PageError(answer.message)
        return str(answer.message)

    def _trigger(self, client: Client, timeout: float | None = None) -> str:
        answer = self._call(client, Trigger.Request(), timeout)
        if not answer.success:
            raise PageError(answer.message)
        return str(answer.message)

    def _call(
        self, client: Client, request: Any, timeout: float | None = None, find: float = _FIND_S
    ) -> Any:
        # A node that has just started is found a moment later.
        if not client.service_is_ready() and not client.wait_for_service(find):
            raise PageError(f"{client.srv_name} is not there: check that its node runs")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        limit = timeout or self._timeout
        if not done.wait(limit):
            client.remove_pending_request(future)
            raise PageError(f"{client.srv_name} did not answer within {limit:.0f} s")
        return future.result()
