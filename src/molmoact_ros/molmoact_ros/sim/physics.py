"""The world of one simulated FR3: MuJoCo behind franky-sim's server, published and breakable."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from franky_sim import SimulationServer

from molmoact_ros.sim.arm_server import ArmServer
from molmoact_ros.sim.contacts import TCP_OFFSET, ContactSensor
from molmoact_ros.sim.control_channel import ControlServer, loopback
from molmoact_ros.sim.control_requests import request_handlers
from molmoact_ros.sim.hand import HandDrive
from molmoact_ros.sim.pacing import Pacer
from molmoact_ros.sim.quick_robot import QuickSimulator
from molmoact_ros.sim.shared import SceneHeader, SnapshotWriter, snapshot_name
from molmoact_ros.sim.tabletop import Scene

logger = logging.getLogger(__name__)

PUBLISH_EVERY = 5  # ticks of 1 ms
FEEL_EVERY = 2  # the filter behind it takes 10 ms; reading contacts is a third of a tick
HAND = "robot0_hand"
_OPEN_WIDTH = 0.078
_QUATERNION_ORDER = [1, 2, 3, 0]  # MuJoCo's (w, x, y, z) as (x, y, z, w)
_POSE_ORDER = [0, 1, 2, 4, 5, 6, 3]


class PhysicsError(RuntimeError):
    """The simulation cannot start or diverged; the message says what to do."""


@dataclass(frozen=True)
class PhysicsConfig:
    """host: loopback address of arm (1337), hand (1338) and control (5599) ports.
    seed, task: first scene. realtime: speed, 1 = wall clock."""

    host: str = "127.0.0.1"
    seed: int = 0
    task: str | None = None
    realtime: float = 1.0


class PhysicsServer(SimulationServer):  # type: ignore[misc]
    """Owns simulator, arm server, control channel and snapshot. One thread runs it all."""

    def __init__(self, config: PhysicsConfig, scene: Scene) -> None:
        host = loopback(config.host)
        simulator = QuickSimulator()
        simulator.init()
        robot = simulator.add_robot(initial_q=scene.home_q, initial_hand_width=_OPEN_WIDTH)
        scene.build(simulator, config.seed, config.task)
        super().__init__(simulator, [host])
        self._config, self._scene, self._robot = config, scene, robot
        self.host = host
        self._seed, self._task, self._generation = config.seed, config.task, 0
        self._push_left = 0
        self.pacer = Pacer(0.001 / config.realtime)
        self._open()

    def _open(self) -> None:
        self.arm = ArmServer(self._robot, self.host)
        try:
            self.arm.init()
            self._control = ControlServer(self.host, request_handlers(self))
        except OSError as error:
            self.arm.cleanup()
            raise PhysicsError(
                f"ports 1337, 1338 and 5599 of {self.host} are not all free ({error}): another "
                "simulator runs there. Stop it, or choose another address with --host 127.0.0.2"
            ) from error
        self.robot_servers.append(self.arm)
        self.sim.start()
        model, data = self.sim.model, self.sim.data
        self._hand_id = model.body(HAND).id
        starts = [_free_joint_address(model, name) for name in self._scene.objects]
        self._object_poses = np.array([[s + k for k in _POSE_ORDER] for s in starts], dtype=int)
        self._contacts = ContactSensor(model, timestep=0.001 * FEEL_EVERY)
        self._felt = 0
        self._hand = HandDrive(self._robot, data)
        self._writer = SnapshotWriter(snapshot_name(self.host), model.nq, len(self._scene.objects))
        self._lay_out(self._seed, self._task)
        self._publish()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Tick until ``stopped`` says so. Raises PhysicsError when the physics diverges."""
        tick = 0
        self.pacer = Pacer(0.001 / self._config.realtime)
        while not stopped():
            self.pacer.begin()
            self.tick(tick % PUBLISH_EVERY == 0)
            tick += 1
            self.pacer.wait()

    def tick(self, publish: bool) -> None:
        """One millisecond of the world."""
        self.arm.process_commands()
        self.sim.step()
        self._felt += 1
        if self._felt % FEEL_EVERY == 0:
            self.arm.feel(self._contacts.update(self.sim.data))
        self.arm.send_state()
        if self._push_left:
            self._push_left -= 1
            if not self._push_left:
                self.sim.data.xfrc_applied[self._hand_id] = 0.0
        if publish:
            self._publish()
            self._control.poll()

    def close(self) -> None:
        """Close all sockets and remove the snapshot."""
        self.cleanup()
        self._control.close()
        self._writer.close()
        self.sim.cleanup()

    def _publish(self) -> None:
        model, data = self.sim.model, self.sim.data
        # MuJoCo resets the whole state when it diverges; the arm would teleport unnoticed.
        if (
            data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number
            or not np.isfinite(data.qpos).all()
        ):
            raise PhysicsError(
                "the physics diverged (see MUJOCO_LOG.TXT). Start the simulator again; if it "
                f"comes back, report seed {self._seed} and the last commands."
            )
        # mj_step leaves the poses of the step's beginning behind; images show its end.
        mujoco.mj_kinematics(model, data)
        tcp = data.xpos[self._hand_id] + TCP_OFFSET * data.xmat[self._hand_id, 2::3]
        turn = data.xquat[self._hand_id, _QUATERNION_ORDER]
        floats = np.concatenate([tcp, turn, data.qpos, data.qpos[self._object_poses].ravel()])
        self._writer.publish(data.time, time.time_ns(), floats)

    def _lay_out(self, seed: int, task: str | None) -> None:
        extra = self._scene.lay_out(self.sim.model, self.sim.data, seed, task)
        self.sim.data.qacc_warmstart[:] = 0.0
        self._seed, self._task = seed, task
        self._generation += 1
        self._writer.describe(self._header(extra))

    def _header(self, extra: Mapping[str, Any]) -> SceneHeader:
        model = self.sim.model
        joints = {model.joint(i).name: int(model.jnt_qposadr[i]) for i in range(model.njnt)}
        return SceneHeader(
            self.host,
            os.getpid(),
            int(model.nq),
            self._seed,
            self._generation,
            self._task,
            self._scene.objects,
            joints,
            extra,
        )

    def reset(self, seed: int, task: str | None, home: bool) -> int:
        """Another scene; ``home`` also moves the arm there at once. Returns the generation.

        Raises ValueError for a bad seed or task, or ``home`` while a motion runs.
        """
        if home and self.arm.moving:
            raise ValueError("the arm is in motion; stop it before a reset with home=True")
        self._lay_out(seed, task)
        if home:
            self.sim.data.qpos[self._robot._qpos_addrs] = self._scene.home_q
            self.sim.data.qvel[self._robot._dof_addrs] = 0.0
            self.arm._reset_state()  # hold the new joints, not the old ones
            self._robot.forget_motion()
        self._publish()
        return self._generation

    def jam(self, stuck: bool) -> None:
        """Whether the fingers stick where they are."""
        self._hand.jammed = stuck

    def push(self, force: list[float], ticks: int) -> None:
        """Push the hand with ``force`` [3] N in base axes for ``ticks`` milliseconds."""
        self.sim.data.xfrc_applied[self._hand_id, :3] = force if ticks else 0.0
        self._push_left = ticks

    def facts(self) -> dict[str, Any]:
        """The state of the world as the control channel reports it."""
        return {
            "sim_time": float(self.sim.data.time),
            "udp_commands": self.arm.commands_received,
            "moving": self.arm.moving,
            "fault": None if self.arm.fault is None else self.arm.fault.value,
            "generation": self._generation,
            "wrench": [float(f) for f in self.arm.force.wrench],
            "hand_width": float(self._robot.hand_width),
        }


def _free_joint_address(model: mujoco.MjModel, body: str) -> int:
    joint = int(model.body_jntadr[model.body(body).id])
    if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
        raise PhysicsError(f"object {body!r} has no free joint; give its body a <freejoint/>.")
    return int(model.jnt_qposadr[joint])
