"""What the page may ask of the robot, as ROS service calls. Called from the page's threads."""

from __future__ import annotations

import threading
from typing import Any

from molmoact_msgs.srv import SelectSource, StartInstruction
from rclpy.client import Client
from rclpy.node import Node
from std_srvs.srv import Trigger

from molmoact_ros.web.page import PageError

MODES = {"auto": StartInstruction.Request.AUTO, "shadow": StartInstruction.Request.SHADOW}
POLICY = 1
"""CommandStatus.SOURCE_POLICY."""


class RosCommands:
    """Implements web.page.PageCommands. Futures are completed by the node's executor."""

    def __init__(self, node: Node, timeout: float = 3.0) -> None:
        self._timeout = timeout
        client = node.create_client
        self._start = client(StartInstruction, "policy/start")
        self._cancel = client(Trigger, "policy/cancel")
        self._stop = client(Trigger, "commander/stop")
        self._reset = client(Trigger, "commander/reset")
        self._select = client(SelectSource, "commander/select_source")
        self._home = client(Trigger, "franka/home")
        self._scene = client(Trigger, "sim_cameras/reset_scene")

    def start(self, instruction: str, mode: str) -> str:
        if mode not in MODES:
            raise PageError(f"mode '{mode}' is not available; use {' or '.join(MODES)}")
        if mode == "auto":
            answer = self._call(self._select, SelectSource.Request(source=POLICY))
            if not answer.accepted:
                raise PageError(f"{answer.message}: press Reset first")
        request = StartInstruction.Request(instruction=instruction, mode=MODES[mode])
        answer = self._call(self._start, request)
        if not answer.accepted:
            raise PageError(answer.message)
        return str(answer.message)

    def stop(self) -> str:
        # The commander first: it holds the arm at once; the policy may take its time.
        try:
            answer = self._call(self._stop, Trigger.Request())
        finally:
            if self._cancel.service_is_ready():
                self._cancel.call_async(Trigger.Request())
        return str(answer.message)

    def reset(self) -> str:
        return str(self._call(self._reset, Trigger.Request()).message)

    def home(self) -> str:
        if self._cancel.service_is_ready():
            self._call(self._cancel, Trigger.Request(), timeout=12.0)
        return self._trigger(self._home, timeout=30.0)

    def new_scene(self) -> str:
        return self._trigger(self._scene)

    def _trigger(self, client: Client, timeout: float | None = None) -> str:
        answer = self._call(client, Trigger.Request(), timeout)
        if not answer.success:
            raise PageError(answer.message)
        return str(answer.message)

    def _call(self, client: Client, request: Any, timeout: float | None = None) -> Any:
        if not client.service_is_ready():
            raise PageError(f"{client.srv_name} is not there: check that its node runs")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        limit = timeout or self._timeout
        if not done.wait(limit):
            client.remove_pending_request(future)
            raise PageError(f"{client.srv_name} did not answer within {limit:.0f} s")
        return future.result()
