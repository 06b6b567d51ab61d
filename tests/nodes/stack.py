"""The real stack as processes, and a person's view of it through topics."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import ArmStatus, ChunkCommand, CommandStatus, PolicyStatus, Reasoning
from molmoact_msgs.srv import StartInstruction
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
from molmoact_ros.processes import processes_of
from molmoact_ros.profile import load_profile
from molmoact_ros.supervisor import Supervisor

SEED = 3  # of the scene


class Person(Node):
    """Listens to everything a page would show, publishes chunks, asks for instructions."""

    def __init__(self) -> None:
        super().__init__("person")
        self.policy = PolicyStatus()
        self.command = CommandStatus()
        self.arm = ArmStatus()
        self.thoughts: list[Reasoning] = []
        self.poses: list[tuple[float, np.ndarray]] = []
        self.reasons: set[str] = set()
        subscribe = self.create_subscription
        subscribe(PolicyStatus, "policy/status", self._set("policy"), LATCHED_QOS)
        subscribe(CommandStatus, "commander/status", self._command, LATCHED_QOS)
        subscribe(ArmStatus, "franka/status", self._set("arm"), LATCHED_QOS)
        subscribe(Reasoning, "policy/reasoning", self.thoughts.append, LATCHED_QOS)
        subscribe(PoseStamped, "current_pose", self._pose, SENSOR_QOS)
        self.chunks = self.create_publisher(ChunkCommand, "policy/chunk", COMMAND_QOS)
        self.starter = self.create_client(StartInstruction, "policy/start")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _set(self, name: str) -> Callable[[object], None]:
        return lambda message: setattr(self, name, message)

    def _command(self, message: CommandStatus) -> None:
        self.command = message
        self.reasons.add(message.reason)

    def _pose(self, message: PoseStamped) -> None:
        position = convert.pose_from(message.pose).position
        self.poses.append((convert.seconds(message.header.stamp), position))

    def wait(self, condition: Callable[[], bool], seconds: float = 30.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            self._executor.spin_once(timeout_sec=0.05)
        return condition()

    def listen(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def moved(self, since: float) -> float:
        """Metres between the tool's positions since ``since`` (wall seconds), furthest apart."""
        positions = np.array([p for stamp, p in self.poses if stamp >= since])
        assert len(positions) > 5, "no poses arrived; the test would prove nothing"
        return float(np.linalg.norm(positions - positions[0], axis=1).max())

    def send(self, rows: np.ndarray, *, goal: str = "test", chunk_id: int = 1) -> None:
        now = self.get_clock().now().to_msg()
        self.chunks.publish(
            convert.chunk_command(goal, chunk_id, now, "fr3_link0", rows, 1.0 / 15.0)
        )

    def told(self, word: str) -> bool:
        return any(word in reason for reason in self.reasons)

    def send_until(self, rows: np.ndarray, chunk_id: int, condition: Callable[[], bool]) -> bool:
        """Send a chunk once a second until ``condition``; a busy machine may miss one."""
        for _ in range(20):
            self.send(rows, chunk_id=chunk_id)
            if self.wait(condition, 1.0):
                return True
        return False

    def instruct(self, text: str) -> StartInstruction.Response:
        assert self.wait(self.starter.service_is_ready, 90.0), "the policy node offers no ~/start"
        future = self.starter.call_async(StartInstruction.Request(instruction=text))
        assert self.wait(future.done), "~/start did not answer"
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        self.destroy_node()


class Stack:
    """The processes of the simulated profile, and a person watching them."""

    def __init__(self, supervisor: Supervisor, person: Person, lines: list[str], host: str) -> None:
        self.supervisor, self.person, self.lines, self.host = supervisor, person, lines, host

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.supervisor.pid(name), number)

    def log(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def stack(folder: Path, nodes: tuple[str, ...], **arguments: str) -> Iterator[Stack]:
    """Start ``nodes`` of the sim profile on a loopback address of this process; stop them all."""
    pid = os.getpid()
    host = f"127.0.{2 + pid // 200 % 200}.{1 + pid % 200}"
    profile = load_profile(
        "sim", {"host": host, "seed": str(SEED), "policy": "scripted", **arguments}
    )
    lines: list[str] = []
    processes = processes_of(profile.node(name) for name in nodes)
    supervisor = Supervisor(processes, folder, lambda name, line: lines.append(f"{name}: {line}"))
    rclpy.init()
    person = Person()
    try:
        supervisor.start()
        assert person.wait(lambda: person.arm.armed, 60.0), "\n".join(lines)
        yield Stack(supervisor, person, lines, host)
    finally:
        supervisor.stop()
        person.close()
        rclpy.try_shutdown()
