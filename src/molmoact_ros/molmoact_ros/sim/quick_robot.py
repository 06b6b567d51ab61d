"""franky-sim's FR3 without its overhead: the same control laws and the same state.

The wheel evaluates a graph of state components, each with kinematics of its own, every
millisecond. Here the results come from ``StateUpdate`` and lie ready in the state message.
Cartesian motions still run through the wheel's inverse kinematics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import pinocchio as pin
from franky_sim.base_simulator import BaseRobot, InnerRobotState
from franky_sim.constants import FRANKA_TORQUE_LIMITS_HIGH, FRANKA_TORQUE_LIMITS_LOW
from franky_sim.mujoco_simulator import FrankaMujocoRobot, MujocoSimulator

from molmoact_ros.geometry import Floats
from molmoact_ros.sim.state_message import StateMessage
from molmoact_ros.sim.state_update import Command, StateUpdate
from molmoact_ros.sim.wheel import private

_LOW, _HIGH = np.array(FRANKA_TORQUE_LIMITS_LOW, float), np.array(FRANKA_TORQUE_LIMITS_HIGH, float)
# Change only with what a client tells about tool and load.
_TOOL_FIELDS = ("F_T_EE", "EE_T_K", "F_T_NE", "NE_T_EE")
_LOAD_FIELDS = ("m_ee", "I_ee", "F_x_Cee", "m_load", "I_load", "F_x_Cload")


class QuickRobot(FrankaMujocoRobot):  # type: ignore[misc]
    """Drop-in for the wheel's robot; ``message`` always holds the newest state.

    Raises RuntimeError when this is another wheel or the joints are not consecutive in qpos.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.message = message = StateMessage()
        self._pin = private(self, BaseRobot, "model")
        self._pin_data = self._pin.createData()
        self._commands: dict[str, Command] = {}
        self._desired_torques = message.field("tau_J_d")
        self._update = StateUpdate(self._pin, private(self, BaseRobot, "tcp_frame_id"), message)
        # The wheel's controllers announce what they do through these.
        names = list(self._tracked_state_components)  # type: ignore[has-type]
        self._tracked_state_components = {
            name: _Component(name, self._commands, message.field(name)) for name in names
        }
        self._describe_tool()

    def forget_motion(self) -> None:
        """Restart the derivatives after joints were set directly: they would report a jump,
        and a client's motion planner takes them as the start of its next motion."""
        self._update.restart()

    def torque_control(self, torques: Sequence[float], has_new_command: bool = True) -> None:
        desired = self._desired_torques
        np.maximum(torques, _LOW, out=desired)
        np.minimum(desired, _HIGH, out=desired)
        gravity = pin.computeGeneralizedGravity(self._pin, self._pin_data, self._joints)
        self._applied_torques = np.minimum(np.maximum(desired + gravity, _LOW), _HIGH)
        self._drive[:] = self._applied_torques

    def _joint_position_control(self, target_q: Floats) -> None:
        tau = self.kp * (target_q - self._joints) - self.kv * self._speeds
        self.torque_control(tau + self._coriolis())

    def _joint_velocity_control(self, target_dq: Floats) -> None:
        self.torque_control(self.kv * (target_dq - self._speeds) + self._coriolis())

    def _coriolis(self) -> Floats:
        model, data, q = self._pin, self._pin_data, self._joints
        bias = pin.nonLinearEffects(model, data, q, self._speeds)
        return np.asarray(bias - pin.computeGeneralizedGravity(model, data, q))

    def _post_step(self) -> None:
        self._update.step(self._joints, self._speeds, self._applied_torques, self._commands)
        self._commands.clear()

    def _get_state(self) -> InnerRobotState:
        if self._data is None:
            return super()._get_state()
        torques = self._applied_torques
        return InnerRobotState(
            tuple(self._joints.tolist()), tuple(self._speeds.tolist()), tuple(torques.tolist())
        )

    def _attach_to_scene(self, model: mujoco.MjModel, data: mujoco.MjData, prefix: str) -> None:
        super()._attach_to_scene(model, data, prefix)
        q, dq = self._qpos_addrs[0], self._dof_addrs[0]
        if self._qpos_addrs != [*range(q, q + 7)] or self._dof_addrs != [*range(dq, dq + 7)]:
            raise RuntimeError("the arm's joints are not consecutive in qpos; add the robot first.")
        self._joints, self._speeds = data.qpos[q : q + 7], data.qvel[dq : dq + 7]
        self._drive = data.qfrc_applied[dq : dq + 7]

    @staticmethod
    def to_franka_pose(pose: Any) -> tuple[float, ...]:
        """Poses are kept as they are sent, column-major [16]."""
        return tuple(pose.tolist())

    def set_load(self, *load: Any) -> None:
        super().set_load(*load)
        self._describe_tool()

    def set_NE_T_EE(self, ne_t_ee: tuple[float, ...]) -> None:  # noqa: N802  libfranka's name
        super().set_NE_T_EE(ne_t_ee)
        self._describe_tool()

    def set_EE_T_K(self, ee_t_k: tuple[float, ...]) -> None:  # noqa: N802  libfranka's name
        super().set_EE_T_K(ee_t_k)
        self._describe_tool()

    def _describe_tool(self) -> None:
        self._pin_data = self._pin.createData()
        state = self.state
        for name in _TOOL_FIELDS + _LOAD_FIELDS:
            field = self.message.field(name)
            field[:] = np.ravel(getattr(state, name))[: field.size]


class QuickSimulator(MujocoSimulator):  # type: ignore[misc]
    """The wheel's simulator with quick robots, in which objects at rest fall asleep.

    MuJoCo skips sleeping objects and wakes what is touched, pushed or moved by hand: three
    quarters of a step are the contacts of cubes that lie on the table.
    """

    def add_robot(self, **settings: Any) -> QuickRobot:
        super().add_robot(**settings)  # also puts its bodies into the scene
        settings.pop("position", None)
        robot = QuickRobot(**settings)
        self._robots[-1] = robot
        return robot

    def _start(self) -> None:
        super()._start()
        self.model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)


class _Component:
    """Stands in for the wheel's state component: takes this tick's command, holds the value."""

    def __init__(self, name: str, commands: dict[str, Command], value: Floats) -> None:
        self._name, self._commands, self._value = name, commands, value

    def set(self, _time: float, value: Any, call_observers: bool = True) -> None:
        self._commands[self._name] = (value, call_observers)

    def get(self, _time: float) -> Floats:
        return self._value
