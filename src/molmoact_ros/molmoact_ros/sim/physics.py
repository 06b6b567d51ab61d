"""The world of one simulated FR3: MuJoCo behind franky-sim's server, published and breakable."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import mujoco
import numpy as np
from franky_sim import SimulationServer
from franky_sim.base_simulator import InnerRobotState
from franky_sim.mujoco_simulator import MujocoSimulator

from molmoact_ros.sim.contacts import TCP_OFFSET, ContactSensor
from molmoact_ros.sim.control_channel import FAULTS, ControlServer, loopback, number, vector
from molmoact_ros.sim.franka_protocol import ArmServer, Fault, RobotError
from molmoact_ros.sim.hand import HandDrive
from molmoact_ros.sim.pacing import Pacer
from molmoact_ros.sim.shared import SceneHeader, SnapshotWriter, snapshot_name
from molmoact_ros.sim.tabletop import Scene

logger = logging.getLogger(__name__)

PUBLISH_EVERY = 5  # ticks of 1 ms
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
        simulator = MujocoSimulator()
        simulator.init()
        robot = simulator.add_robot(initial_q=scene.home_q, initial_hand_width=_OPEN_WIDTH)
        scene.build(simulator, config.seed, config.task)
        super().__init__(simulator, [host])
        kinematics = robot.kinematics
        # The wheel hands out one pinocchio object again and again, so that the measured tool
        # pose silently turns into the desired one computed after it.
        robot.kinematics = lambda q: kinematics(q).copy()
        self._config, self._scene, self._robot = config, scene, robot
        self._host = host
        self._seed, self._task, self._generation = config.seed, config.task, 0
        self._push_left = 0
        self._pacer = Pacer(0.001 / config.realtime)
        self._cpu_mark = (time.perf_counter(), time.process_time())
        self._open()

    def _open(self) -> None:
        self.arm = ArmServer(self._robot, self._host)
        handlers = {
            "reset": self._reset,
            "fault": self._fault,
            "push": self._push,
            "stats": self._stats,
        }
        try:
            self.arm.init()
            self._control = ControlServer(self._host, handlers)
        except OSError as error:
            self.arm.cleanup()
            raise PhysicsError(
                f"ports 1337, 1338 and 5599 of {self._host} are not all free ({error}): another "
                "simulator runs there. Stop it, or choose another address with --host 127.0.0.2"
            ) from error
        self.robot_servers.append(self.arm)
        self.sim.start()
        model, data = self.sim.model, self.sim.data
        self._hand_id = model.body(HAND).id
        starts = [_free_joint_address(model, name) for name in self._scene.objects]
        self._object_poses = np.array([[s + k for k in _POSE_ORDER] for s in starts], dtype=int)
        self._contacts = ContactSensor(model)
        self._hand = HandDrive(self._robot, data)
        _read_joints_quickly(self._robot, data)
        self._writer = SnapshotWriter(
            snapshot_name(self._host), model.nq, len(self._scene.objects)
        )
        self._lay_out(self._seed, self._task)
        self._publish()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Tick until ``stopped`` says so. Raises PhysicsError when the physics diverges."""
        tick = 0
        self._pacer = Pacer(0.001 / self._config.realtime)
        while not stopped():
            self._pacer.begin()
            self.tick(tick % PUBLISH_EVERY == 0)
            tick += 1
            self._pacer.wait()

    def tick(self, publish: bool) -> None:
        """One millisecond of the world."""
        self.arm.process_commands()
        self.sim.step()
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
        if data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number or not np.isfinite(data.qpos).all():
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
            self._host,
            os.getpid(),
            int(model.nq),
            self._seed,
            self._generation,
            self._task,
            self._scene.objects,
            joints,
            extra,
        )

    def _reset(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        seed, task = int(number(request, "seed", 0, 2**53)), request.get("task")
        if task is not None and not isinstance(task, str):
            raise ValueError(f"task is {task!r}; give text or null")
        if request.get("home"):
            if self.arm.moving:
                raise ValueError("the arm is in motion; stop it before a reset with home=True")
            self._robot.data.qpos[self._robot._qpos_addrs] = self._scene.home_q
            self._robot.data.qvel[self._robot._dof_addrs] = 0.0
            self.arm._reset_state()  # hold the new joints, not the old ones
        self._lay_out(seed, task)
        self._publish()
        return {"generation": self._generation}

    def _fault(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = request.get("kind")
        if kind == "reflex":
            self.arm.trip(Fault.REFLEX, RobotError.CARTESIAN_REFLEX)
        elif kind == "user_stop":
            self.arm.trip(Fault.USER_STOP)
        elif kind == "manual":
            self.arm.trip(Fault.MANUAL, RobotError.JOINT_POSITION_LIMITS_VIOLATION)
        elif kind == "release":
            self.arm.clear()
        elif kind == "freeze":
            self.arm.freeze(int(number(request, "ms", 1, 600_000)))
        else:
            raise ValueError(f"fault {kind!r} is unknown; use one of {', '.join(FAULTS)}")
        return {}

    def _push(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        force = vector(request, "force", 3, 500.0)
        ticks = int(1000 * number(request, "seconds", 0.0, 60.0))
        self.sim.data.xfrc_applied[self._hand_id, :3] = force if ticks else 0.0
        self._push_left = ticks
        return {}

    def _stats(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        cores = (cpu - self._cpu_mark[1]) / max(wall - self._cpu_mark[0], 1e-9)
        self._cpu_mark = (wall, cpu)
        return {
            **asdict(self._pacer.stats()),
            "sim_time": float(self.sim.data.time),
            "cpu": cores,
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


def _read_joints_quickly(robot: Any, data: mujoco.MjData) -> None:
    """Slices instead of the wheel's element by element reading: a tenth of a tick less."""
    q, dq = robot._qpos_addrs, robot._dof_addrs
    joints, speeds = data.qpos[q[0] : q[-1] + 1], data.qvel[dq[0] : dq[-1] + 1]
    if len(joints) != len(q) or len(speeds) != len(dq):
        raise PhysicsError("the arm's joints are not consecutive in qpos; add the robot first.")
    robot._get_state = lambda: InnerRobotState(
        tuple(joints.tolist()), tuple(speeds.tolist()), tuple(robot._applied_torques.tolist())
    )
