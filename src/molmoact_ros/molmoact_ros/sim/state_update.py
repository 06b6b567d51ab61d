"""One pass from joints and commands to franka::RobotState, in place of franky-sim's graph.

What depends on what, and every filter, is franky-sim 1.0.4's (base_simulator.py), so that
clients plan the same motions; tests compare the two side by side. One difference: O_T_EE is
measured. The wheel hands out one pinocchio object for the measured and the desired tool pose,
so that an arm stuck in the table looks on target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pinocchio as pin

from molmoact_ros.geometry import Floats
from molmoact_ros.sim.derivatives import KEEP, TICK_S, Derivatives
from molmoact_ros.sim.state_message import StateMessage

Command = tuple[Any, bool]
"""A command's value, and whether it arrived in this very tick."""

_AXES = pin.ReferenceFrame.LOCAL_WORLD_ALIGNED


class StateUpdate:
    """``model``: pinocchio's arm with tool frame ``tcp``. Writes into ``message``."""

    def __init__(self, model: pin.Model, tcp: int, message: StateMessage) -> None:
        self._model, self._tcp, self._data = model, tcp, model.createData()
        field, pose = message.field, message.pose
        self._q, self._dq, self._tau = field("q"), field("dq"), field("tau_J")
        self._q_d, self._dq_d, self._ddq_d = field("q_d"), field("dq_d"), field("ddq_d")
        self._dtau = field("dtau_J")
        self._elbow, self._elbow_d = field("elbow"), field("elbow_d")
        self._elbow_c, self._delbow_c = field("elbow_c"), field("delbow_c")
        self._ddelbow_c = field("ddelbow_c")
        self._twist_d, self._twist_c = field("O_dP_EE_d"), field("O_dP_EE_c")
        self._twist_rate_c = field("O_ddP_EE_c")
        self._pose, self._pose_d = pose("O_T_EE"), pose("O_T_EE_d")
        self._pose_c = pose("O_T_EE_c")
        joints = {"dq": self._dq, "tau": self._tau, "q_d": self._q_d, "elbow": self._elbow_c}
        tool = {"dq_d": self._dq_d, "twist_d": self._twist_d, "twist_c": self._twist_c}
        self._joint_rates, self._tool_rates = Derivatives(joints), Derivatives(tool)
        self._rate = {name: self._joint_rates.rate(name) for name in joints}
        self._rate |= {name: self._tool_rates.rate(name) for name in tool}
        self._path_twist = np.zeros(6)  # of a commanded path of tool poses
        self._path_last = np.eye(4)
        self._path_pause = 0

    def restart(self) -> None:
        """Take the next state as standing still."""
        self._joint_rates.restart()
        self._tool_rates.restart()
        self._path_twist[:] = 0.0
        self._path_pause = 0

    def step(self, q: Floats, dq: Floats, tau: Floats, commands: Mapping[str, Command]) -> None:
        """Joints [7] after a tick, the torques of the tick, and its commands by the name of the
        state field they set."""
        self._q[:] = q
        self._dq[:] = dq
        self._tau[:] = tau
        self._set_joints(commands)
        self._set_tool(commands)

    def _set_joints(self, commands: Mapping[str, Command]) -> None:
        q, q_d, rate = self._q, self._q_d, self._rate
        position, elbow = commands.get("q_d"), commands.get("elbow_c")
        speed = commands.get("dq_d")
        self._elbow[:] = q[2], _sign(q[3])
        self._elbow_c[:] = self._elbow if elbow is None else elbow[0]
        q_d[:] = q if position is None else position[0]
        if elbow is not None and position is None:
            q_d[2] = self._elbow_c[0]
        self._elbow_d[:] = q_d[2], _sign(q_d[3])
        self._joint_rates.update(_repeated(q_d=position))
        if speed is not None:
            self._dq_d[:] = speed[0]
        else:
            self._dq_d[:] = self._dq if position is None else rate["q_d"]
        self._dtau[:] = rate["tau"]
        self._delbow_c[0] = rate["dq"][2] if elbow is None else rate["elbow"][0]
        self._ddelbow_c[0] = self._dq[2]

    def _set_tool(self, commands: Mapping[str, Command]) -> None:
        rate, twist_d, twist_c = self._rate, self._twist_d, self._twist_c
        speed, path = commands.get("dq_d"), commands.get("O_T_EE_c")
        twist = commands.get("O_dP_EE_c")
        self._pose[:], twist_d[:] = self._kinematics(self._q, self._dq)
        if "q_d" in commands or speed is not None or "elbow_c" in commands:
            self._pose_d[:], twist_d[:] = self._kinematics(self._q_d, self._dq_d)
        else:
            self._pose_d[:] = self._pose
        if path is None:
            self._pose_c[:] = self._path_last[:] = self._pose_d
            self._path_twist[:] = twist_d
        else:
            self._follow(path)
        if twist is not None:
            twist_c[:] = twist[0]
        else:
            twist_c[:] = twist_d if path is None else self._path_twist
        self._tool_rates.update(_repeated(dq_d=speed, twist_c=twist))
        self._ddq_d[:] = rate["dq"] if speed is None else rate["dq_d"]
        self._twist_rate_c[:] = rate["twist_d"] if twist is None else rate["twist_c"]

    def _kinematics(self, q: Floats, dq: Floats) -> tuple[Floats, Floats]:
        """The tool's pose [4, 4] and twist [6] about itself, both in base axes."""
        model, data, tcp = self._model, self._data, self._tcp
        pin.forwardKinematics(model, data, q, dq)
        pose = pin.updateFramePlacement(model, data, tcp).homogeneous
        return pose, pin.getFrameVelocity(model, data, tcp, _AXES).vector

    def _follow(self, path: Command) -> None:
        """Velocity along commanded tool poses."""
        pose, last = path[0].homogeneous, self._path_last
        self._pose_c[:] = pose
        if not path[1]:
            self._path_pause += 1
            return
        elapsed, self._path_pause = TICK_S * (1 + self._path_pause), 0
        turn = pin.log3(pose[:3, :3] @ last[:3, :3].T)
        change = np.concatenate([pose[:3, 3] - last[:3, 3], turn]) / elapsed
        self._path_twist *= KEEP
        self._path_twist += (1.0 - KEEP) * change
        last[:] = pose


def _repeated(**commands: Command | None) -> tuple[str, ...]:
    """Names of commands that are still the previous tick's."""
    return tuple(name for name, command in commands.items() if command and not command[1])


def _sign(angle: float) -> float:
    return 1.0 if angle > 0.0 else -1.0
