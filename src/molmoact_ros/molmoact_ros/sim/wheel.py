"""The few places where franky-sim 1.0.4 must be reached into, and what is wrong there.

The wheel itself stays unmodified. Every private name is looked up through ``private``, which
refuses a version of the wheel that does not have it.
"""

from __future__ import annotations

import socket
from typing import Any

import mujoco
from franky_sim.base_simulator import FiniteDifferenceTracker, InnerRobotState
from franky_sim.franka_server import FrankaServer, NonBlockingReceiver


def private(owner: Any, cls: type, name: str) -> Any:
    """Attribute ``__name`` that class ``cls`` keeps in ``owner``. RuntimeError without it."""
    attribute = f"_{cls.__name__}__{name}"
    if not hasattr(owner, attribute):
        raise RuntimeError(
            f"franky-sim has no {attribute}: this is not version 1.0.4. Install the pinned one: "
            "pip install franky-sim==1.0.4"
        )
    return getattr(owner, attribute)


def set_private(owner: Any, cls: type, name: str, value: object) -> None:
    """Replace such an attribute. RuntimeError without it."""
    private(owner, cls, name)
    setattr(owner, f"_{cls.__name__}__{name}", value)


def rebind_commands_to(server: FrankaServer, host: str) -> None:
    """Listen for motion commands at ``host`` only; the wheel takes them from every network
    interface of the machine. Call right after the wheel has opened its UDP socket."""
    private(server, FrankaServer, "udp_socket").close()
    local = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    local.bind((host, 0))
    local.setblocking(False)
    set_private(server, FrankaServer, "udp_socket", local)
    set_private(server, FrankaServer, "udp_receiver", NonBlockingReceiver(local))


def measure_true_tool_pose(robot: Any) -> None:
    """Let O_T_EE be measured: the wheel hands out one pinocchio object again and again, so
    that the measured tool pose turns into the desired one, which is computed after it."""
    kinematics = robot.kinematics
    robot.kinematics = lambda q: kinematics(q).copy()


def forget_motion(robot: Any) -> None:
    """Restart the finite differences behind desired velocities and accelerations.

    After joints were set directly they would report a jump, and a client's motion planner
    takes them as the start of its next motion.
    """
    for component in robot._tracked_state_components.values():
        for observer in component.observers.values():
            if isinstance(observer, FiniteDifferenceTracker):
                # Its own clear() leaves a derivative of None, which the next tick adds to.
                observer._last_value = None
                observer._last_derivative *= 0.0
            else:
                observer.clear()


def read_joints_quickly(robot: Any, data: mujoco.MjData) -> None:
    """Slices instead of element by element reading: a tenth of a tick less.

    Call after the simulator has started. RuntimeError when the joints are not consecutive.
    """
    q, dq = robot._qpos_addrs, robot._dof_addrs
    joints, speeds = data.qpos[q[0] : q[-1] + 1], data.qvel[dq[0] : dq[-1] + 1]
    if len(joints) != len(q) or len(speeds) != len(dq):
        raise RuntimeError("the arm's joints are not consecutive in qpos; add the robot first.")
    robot._get_state = lambda: InnerRobotState(
        tuple(joints.tolist()), tuple(speeds.tolist()), tuple(robot._applied_torques.tolist())
    )
