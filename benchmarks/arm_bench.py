"""A bench for the arm alone: simulator, driver and commander as processes, and a person's hands.

Shared by fault_matrix.py, by the tests that run the same cases, and by the other arm benchmarks.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, TwistStamped
from molmoact_msgs.msg import ArmStatus, ChunkCommand, CommandStatus
from molmoact_msgs.srv import SelectSource
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64
from std_srvs.srv import Trigger

from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
from molmoact_ros.processes import process_of
from molmoact_ros.profile import NodeSpec, load_profile
from molmoact_ros.sim.control_channel import SimControl
from molmoact_ros.sim.process import own_host

PERIOD_S = 1.0 / 15.0
HOLD, POLICY, TELEOP = 0, 1, 2
FRAME = "fr3_link0"


@dataclass(frozen=True)
class Sample:
    """What the driver published at ``time``, wall seconds."""

    time: float
    position: Floats
    quaternion: Floats


class Person(Node):
    """Publishes what a policy, a hand and a page would; records what the arm did and was said."""

    def __init__(self, namespace: str = "", arm: str = "") -> None:
        super().__init__("person", namespace=namespace)
        self.arm, self.command = ArmStatus(), CommandStatus()
        self.path: list[Sample] = []
        self.joints: list[tuple[float, Floats]] = []
        self.said: list[str] = []
        self.chunk_id, self.goal = 0, ""
        prefix = f"{arm}/" if arm else ""
        subscribe, publish = self.create_subscription, self.create_publisher
        subscribe(ArmStatus, f"{prefix}franka/status", self._arm, LATCHED_QOS)
        subscribe(CommandStatus, "commander/status", self._command, LATCHED_QOS)
        subscribe(PoseStamped, f"{prefix}current_pose", self._pose, SENSOR_QOS)
        subscribe(JointState, f"{prefix}joint_states", self._joints, SENSOR_QOS)
        self.chunks = publish(ChunkCommand, "policy/chunk", COMMAND_QOS)
        self.twists = publish(TwistStamped, f"{prefix}teleop/twist", COMMAND_QOS)
        self.gripper = publish(Float64, f"{prefix}gripper_command", COMMAND_QOS)
        self.estop = publish(Bool, "emergency_stop", COMMAND_QOS)
        self.executor_ = SingleThreadedExecutor()
        self.executor_.add_node(self)

    def wait(self, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return condition()
            self.executor_.spin_once(timeout_sec=0.02)
        return True

    def listen(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def call(self, name: str, seconds: float = 30.0) -> str:
        """A Trigger service's answer; "" when nobody answers."""
        client = self.create_client(Trigger, name)
        try:
            if not self.wait(client.service_is_ready, seconds):
                return ""
            future = client.call_async(Trigger.Request())
            return str(future.result().message) if self.wait(future.done, seconds) else ""
        finally:
            self.destroy_client(client)

    def select(self, source: int) -> str:
        client = self.create_client(SelectSource, "commander/select_source")
        try:
            if not self.wait(client.service_is_ready):
                return "the commander does not answer"
            future = client.call_async(SelectSource.Request(source=source))
            return str(future.result().message) if self.wait(future.done) else "no answer"
        finally:
            self.destroy_client(client)

    def think(
        self, rows: Floats, goal: str = "bench", age: float = 0.0, final: bool = False
    ) -> None:
        """Publish a chunk about an image ``age`` seconds old."""
        self.chunk_id += 1
        self.goal = goal
        stamp = convert.to_time(time.time() - age)
        message = convert.chunk_command(goal, self.chunk_id, stamp, FRAME, rows, PERIOD_S, final)
        self.chunks.publish(message)

    def push(self, twist: tuple[float, ...], seconds: float, hz: float = 30.0) -> None:
        """A hand on a device for ``seconds``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stamp = time.time()
            self.twists.publish(convert.twist_stamped(np.array(twist), stamp, FRAME))
            self.listen(1.0 / hz)

    def since(self, start: float) -> list[Sample]:
        return [sample for sample in self.path if sample.time >= start]

    def moved(self, start: float) -> float:
        """Metres from where the arm was at ``start``, at most."""
        path = self.since(start)
        return max(
            (float(np.linalg.norm(s.position - path[0].position)) for s in path), default=0.0
        )

    def told(self, word: str, start: int = 0) -> str:
        """The first text with ``word`` since entry ``start``, "" if there is none."""
        return next((text for text in self.said[start:] if word in text), "")

    def close(self) -> None:
        self.executor_.shutdown()
        self.destroy_node()

    def _say(self, text: str) -> None:
        if text and (not self.said or self.said[-1] != text):
            self.said.append(text)

    def _arm(self, message: ArmStatus) -> None:
        self.arm = message
        self._say(message.detail)

    def _command(self, message: CommandStatus) -> None:
        self.command = message
        self._say(message.reason)

    def _pose(self, message: PoseStamped) -> None:
        pose = convert.pose_from(message.pose)
        stamp = convert.seconds(message.header.stamp)
        self.path.append(Sample(stamp, pose.position, pose.quaternion))

    def _joints(self, message: JointState) -> None:
        stamp = convert.seconds(message.header.stamp)
        self.joints.append((stamp, np.array(message.position[:7])))


def prefer(pid: int) -> None:
    """A robot's computer has time for its arm; only root may ask for that, others go without.

    On a robot the driver runs in real time, as the simulator does here.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


class ArmBench:
    """Processes by name; each can be killed and started again."""

    def __init__(
        self, folder: Path, extra: Mapping[str, Mapping[str, object]] | None = None
    ) -> None:
        self.host, self._folder = own_host(), folder
        self._extra = extra or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._profile = load_profile("sim", {"host": self.host, "seed": "3"})
        self.sim = SimControl(self.host)
        self.person = Person()

    def node(self, name: str) -> NodeSpec:
        spec = self._profile.node(name)
        wanted = tuple(self._extra.get(name, {}).items())
        return replace(spec, parameters=spec.parameters + wanted)  # type: ignore[arg-type]

    def start(self, name: str) -> None:
        spec = process_of(self.node(name))
        log = (self._folder / f"{name}.log").open("ab")
        self._processes[name] = subprocess.Popen(
            spec.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **spec.env},
            start_new_session=True,
        )
        prefer(self._processes[name].pid)

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def ready(self) -> None:
        """Arm at home, armed, POLICY selected, nothing pressed; whatever was before."""
        person = self.person
        assert person.wait(lambda: person.arm.connected, 60.0), self.log("franka")
        self.sim.fault("release")
        person.think(rows()[:0], goal=person.goal, final=True)
        person.call("commander/reset")
        for _ in range(3):
            # The last fault may still be at work while its successor begins.
            person.listen(0.5)
            if person.arm.errors or not person.arm.armed:
                person.call("franka/recover")
            here = person.path[-1].position if person.path else np.zeros(3)
            if np.linalg.norm(here - HOME) > 0.03 or not person.arm.armed:
                person.call("franka/home", 60.0)
                person.call("franka/arm")
            if person.wait(lambda: person.arm.armed, 20.0):
                person.listen(0.5)
                if person.arm.armed:
                    break
        assert person.arm.armed, person.arm.detail
        assert "policy" in person.select(POLICY)
        assert person.wait(lambda: "next thought" in person.command.reason, 30.0), (
            person.command.reason
        )
        person.said.clear()

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.person.close()
        self.sim.close()


HOME = np.array([0.4120, 0.0, 0.4372])
"""fr3_hand_tcp at the home joints."""


def rows(dx: float = 0.0, dy: float = 0.0, dz: float = 0.0, count: int = 8, yaw: float = 0.0,
         gripper: float = 1.0) -> Floats:  # fmt: skip
    out = np.zeros((count, 7))
    out[:, 0], out[:, 1], out[:, 2], out[:, 5], out[:, 6] = dx, dy, dz, yaw, gripper
    return out


@contextmanager
def arm_bench(
    folder: Path | None = None, extra: Mapping[str, Mapping[str, object]] | None = None
) -> Iterator[ArmBench]:
    """Simulator, driver and commander of the sim profile on a loopback address of their own."""
    with tempfile.TemporaryDirectory() as own:
        rclpy.init()
        bench = ArmBench(folder or Path(own), extra)
        try:
            for name in ("sim_arm", "franka", "commander"):
                bench.start(name)
            bench.ready()
            yield bench
        finally:
            bench.stop()
            rclpy.try_shutdown()


def pose_of(sample: Sample) -> Pose:
    return Pose(sample.position, sample.quaternion)
