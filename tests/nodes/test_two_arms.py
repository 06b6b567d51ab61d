"""Two simulated FR3s, two drivers, one commander: a 14-column chunk through real franky."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from arm_bench import prefer
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import ArmStatus, ChunkCommand, CommandStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
from molmoact_ros.processes import processes_of
from molmoact_ros.profile import load_profile
from molmoact_ros.sim.process import own_host
from molmoact_ros.supervisor import Supervisor

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]
ARMS = ("left", "right")


class Watcher(Node):
    """Both arms' poses and states, and a policy's mouth."""

    def __init__(self) -> None:
        super().__init__("watcher")
        self.poses: dict[str, np.ndarray] = {}
        self.frames: dict[str, str] = {}
        self.armed = dict.fromkeys(ARMS, False)
        self.command = CommandStatus()
        for arm in ARMS:
            self.create_subscription(
                PoseStamped, f"{arm}/current_pose", lambda m, a=arm: self._pose(a, m), SENSOR_QOS
            )
            self.create_subscription(
                ArmStatus,
                f"{arm}/franka_{arm}/status",
                lambda m, a=arm: self.armed.update({a: m.armed}),
                LATCHED_QOS,
            )
        self.create_subscription(
            CommandStatus, "commander/status", lambda m: setattr(self, "command", m), LATCHED_QOS
        )
        self.chunks = self.create_publisher(ChunkCommand, "policy/chunk", COMMAND_QOS)
        self.executor_ = SingleThreadedExecutor()
        self.executor_.add_node(self)

    def _pose(self, arm: str, message: PoseStamped) -> None:
        self.poses[arm] = convert.pose_from(message.pose).position
        self.frames[arm] = message.header.frame_id

    def wait(self, condition, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return bool(condition())
            self.executor_.spin_once(timeout_sec=0.02)
        return True

    def think(self, rows: np.ndarray, goal: str) -> None:
        stamp = self.get_clock().now().to_msg()
        message = convert.chunk_command(goal, 1, stamp, "fr3_link0", rows, 1 / 15)
        self.chunks.publish(message)

    def call(self, name: str) -> bool:
        client = self.create_client(Trigger, name)
        assert self.wait(client.service_is_ready, 20.0), f"{name} is not offered"
        future = client.call_async(Trigger.Request())
        assert self.wait(future.done, 20.0), f"{name} did not answer"
        return bool(future.result().success)


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    hosts = {"left_host": own_host(), "right_host": own_host()}
    nodes = load_profile("two_arms_sim", hosts).enabled_nodes
    lines: list[str] = []
    supervisor = Supervisor(processes_of(nodes), tmp_path, lambda name, line: lines.append(line))
    rclpy.init()
    node = Watcher()
    try:
        supervisor.start()
        for name in ("franka_left", "franka_right", "commander"):
            prefer(supervisor.pid(name))
        assert node.wait(lambda: all(node.armed.values()), 120.0), "\n".join(lines)
        assert node.wait(lambda: "next thought" in node.command.reason, 30.0), node.command.reason
        yield node
    finally:
        supervisor.stop()
        node.executor_.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def test_one_thought_moves_two_arms_and_one_arm_s_fault_holds_both(watcher: Watcher) -> None:
    """Left goes left, right goes right; a disarmed right arm keeps the left one where it is."""
    assert watcher.frames == {"left": "left_fr3_link0", "right": "right_fr3_link0"}
    start = {arm: watcher.poses[arm].copy() for arm in ARMS}
    rows = np.zeros((8, 14))
    rows[:, 1], rows[:, 8], rows[:, 9], rows[:, [6, 13]] = 0.006, -0.004, -0.004, 1.0

    def moved(arm: str) -> np.ndarray:
        return watcher.poses[arm] - start[arm]

    for attempt in range(4):
        watcher.think(rows, f"goal {attempt}")
        if watcher.wait(lambda: np.linalg.norm(moved("left")) > 0.04, 4.0):
            break
    watcher.wait(lambda: False, 1.0)
    np.testing.assert_allclose(moved("left"), [0.0, 0.048, 0.0], atol=0.006)
    np.testing.assert_allclose(moved("right"), [0.0, -0.032, -0.032], atol=0.006)
    assert watcher.call("right/franka_right/disarm")
    assert watcher.wait(lambda: "right" in watcher.command.reason, 10.0), watcher.command.reason
    before = watcher.poses["left"].copy()
    watcher.think(rows, "held")
    watcher.wait(lambda: False, 1.0)
    assert np.linalg.norm(watcher.poses["left"] - before) < 0.004
    assert watcher.call("right/franka_right/arm")
    assert watcher.wait(lambda: watcher.armed["right"], 20.0), watcher.command.reason
    before = watcher.poses["left"].copy()
    for attempt in range(4):
        watcher.think(-rows + 2 * rows * (np.arange(14) % 7 == 6), f"back {attempt}")
        if watcher.wait(lambda: np.linalg.norm(watcher.poses["left"] - before) > 0.02, 4.0):
            break
    else:
        raise AssertionError(f"the arms did not move again: {watcher.command.reason}")
