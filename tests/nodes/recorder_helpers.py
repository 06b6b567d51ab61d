"""A recorder node in a process of its own, cameras and joints in this one, and an operator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import EpisodeEvent, EpisodeStatus, SessionStatus
from molmoact_msgs.srv import LabelEpisode, StartEpisode
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import LATCHED_QOS, SENSOR_QOS

TOPICS = (
    "/cam/color/image_raw sensor_msgs/msg/Image rate=15 required",
    "/joint_states sensor_msgs/msg/JointState rate=50",
    "/pose geometry_msgs/msg/PoseStamped",
    "/robot_description std_msgs/msg/String",
)


class Robot(Node):
    """A camera at about 17 Hz and joints at 50 Hz from a thread; ``sent``: their stamps in ns."""

    def __init__(self) -> None:
        super().__init__("robot")
        self.sent: dict[str, list[int]] = {"/cam/color/image_raw": [], "/joint_states": []}
        self.camera_on = True
        self._image = self.create_publisher(Image, "/cam/color/image_raw", SENSOR_QOS)
        self._joints = self.create_publisher(JointState, "/joint_states", 10)
        self._pose = self.create_publisher(PoseStamped, "/pose", 10)
        self._description = self.create_publisher(String, "/robot_description", LATCHED_QOS)
        self._description.publish(String(data="<robot name='fr3'/>"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        tick, due = 0, time.monotonic()
        picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        while not self._stop.is_set():
            now = self.get_clock().now()
            header = Header(stamp=now.to_msg(), frame_id="cam")
            self._joints.publish(JointState(header=header, name=["a"], position=[float(tick)]))
            self.sent["/joint_states"].append(now.nanoseconds)
            if tick % 3 == 0 and self.camera_on:
                self._image.publish(convert.image_message(picture, "rgb8", header))
                self.sent["/cam/color/image_raw"].append(now.nanoseconds)
            tick, due = tick + 1, due + 0.02
            self._stop.wait(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.destroy_node()


class Operator(Node):
    """What a page would do: watch the status and call services."""

    def __init__(self) -> None:
        super().__init__("operator")
        self.status = EpisodeStatus()
        self.ended_ns = 0  # when the recorder said that the last episode was over
        self.session = SessionStatus()
        self.events: list[EpisodeEvent] = []
        self.create_subscription(EpisodeStatus, "/recorder/status", self._on_status, LATCHED_QOS)
        self.create_subscription(SessionStatus, "/recorder/session", self._on_session, LATCHED_QOS)
        self.create_subscription(EpisodeEvent, "/recorder/event", self.events.append, 10)
        self._clients_by_name: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _on_status(self, message: EpisodeStatus) -> None:
        recording = EpisodeStatus.RECORDING
        if self.status.state == recording and message.state != recording:
            stamp = message.header.stamp
            self.ended_ns = stamp.sec * 10**9 + stamp.nanosec
        self.status = message

    def _on_session(self, message: SessionStatus) -> None:
        self.session = message

    def wait(self, condition, seconds: float = 45.0) -> bool:  # type: ignore[no-untyped-def]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            self._executor.spin_once(timeout_sec=0.05)
        return bool(condition())

    def listen(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def ask(self, kind, name: str, **fields: object):  # type: ignore[no-untyped-def]
        client = self._clients_by_name.get(name)
        if client is None:
            client = self.create_client(kind, f"/recorder/{name}")
            self._clients_by_name[name] = client
        if not client.service_is_ready():
            assert self.wait(client.service_is_ready, 150.0), f"no service {name}"
            # Ready says that this side sees the service. An answer is lost while the service does
            # not see this side yet, and DDS has no way to ask.
            self.listen(0.5)
        future = client.call_async(kind.Request(**fields))
        assert self.wait(future.done), f"{name} did not answer"
        return future.result()

    def start(self, task: str = "pick up the cube") -> str:
        """Start an episode; waits until every required topic is there."""
        for _ in range(40):
            answer = self.ask(StartEpisode, "start", task=task)
            if answer.accepted:
                return str(answer.episode_id)
            self.listen(0.25)
        raise AssertionError(answer.message)

    def stop(self) -> None:
        assert self.ask(Trigger, "stop").success
        assert self.wait(lambda: self.status.state == EpisodeStatus.UNLABELLED)

    def label(self, outcome: int, note: str = "", episode: str = "") -> LabelEpisode.Response:
        return self.ask(
            LabelEpisode, "label_episode", outcome=outcome, note=note, episode_id=episode
        )

    def close(self) -> None:
        self._executor.shutdown()
        self.destroy_node()


class RecorderProcess:
    """The node as it is on a robot: a process that can be killed."""

    def __init__(
        self, folder: Path, topics: Sequence[str], prelude: str = "", **parameters: object
    ) -> None:
        """``prelude``: Python that plants a fault before the node starts."""
        values = {"folder": str(folder), "topics": list(topics), "reserve_mb": 16, **parameters}
        code = f"{prelude}\nfrom molmoact_ros.nodes.recorder_node import main\nmain()"
        argv = [sys.executable, "-c", code, "--ros-args"]
        for name, value in values.items():
            argv += ["-p", f"{name}:={json.dumps(value)}"]
        self.log = folder.parent / "recorder.log"
        self._file = self.log.open("ab")
        self.process = subprocess.Popen(
            argv, stdout=self._file, stderr=self._file, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )

    def signal(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._file.close()


@contextmanager
def scene(
    folder: Path, topics: Sequence[str] = TOPICS, prelude: str = "", **parameters: object
) -> Iterator[tuple[Robot, Operator, RecorderProcess]]:
    rclpy.init()
    robot, operator = Robot(), Operator()
    recorder = RecorderProcess(folder, topics, prelude, **parameters)
    try:
        yield robot, operator, recorder
    finally:
        recorder.close()
        operator.close()
        robot.close()
        rclpy.try_shutdown()
