"""The simulated arm, hand and table in one process, without ROS and without libfranka.

A stand-in for fast scoring: an impedance controller on the commanded pose with the stiffness
of the real one, a hand with the speed, force and dwell of the real gripper thread.
"""

from __future__ import annotations

import mujoco
import numpy as np

from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.sim.layout import SceneSpec
from molmoact_ros.sim.scene import HOME_Q, apply_spec, build_model, tcp_pose

ROW_S = 1.0 / 15.0
STEP_S = 0.001
COMMAND_STEPS = 10
STIFFNESS = np.array([1500.0] * 3 + [80.0] * 3)
DAMPING = np.array([75.0] * 3 + [6.0] * 3)
POSTURE_STIFFNESS, POSTURE_DAMPING = 10.0, 4.0
GRIPPER_DWELL_S = 0.6
FINGER_SPEED = 0.05
FINGER_FORCE = 30.0
HAND_WIDTH_M = 0.08
_ARM = tuple(f"robot0_fr3_joint{i}" for i in range(1, 8))
_FINGERS = ("robot0_finger_joint1", "robot0_finger_joint2")


class OfflineRobot:
    """Arm, hand and table in MuJoCo, driven by a commanded tool pose and a gripper value."""

    def __init__(self, spec: SceneSpec) -> None:
        self.model = build_model(spec)
        self.model.opt.timestep = STEP_S
        # The wheel's position servos would fight the torques below.
        self.model.actuator_gainprm[:] = 0.0
        self.model.actuator_biasprm[:] = 0.0
        self.data = mujoco.MjData(self.model)
        self._qpos = [self.model.joint(name).qposadr[0] for name in _ARM]
        self._dof = [self.model.joint(name).dofadr[0] for name in _ARM]
        self._finger_qpos = [self.model.joint(name).qposadr[0] for name in _FINGERS]
        self._finger_dof = [self.model.joint(name).dofadr[0] for name in _FINGERS]
        self._hand = self.model.body("robot0_hand").id
        self.reset(spec)

    def reset(self, spec: SceneSpec) -> None:
        """Arm at home, hand open, objects as in ``spec``."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._qpos] = HOME_Q
        self.data.qpos[self._finger_qpos] = HAND_WIDTH_M / 2
        apply_spec(self.model, self.data, spec)
        self.spec = spec
        self.command = tcp_pose(self.data)
        self._closing, self._switched = False, -1.0

    @property
    def tcp(self) -> Pose:
        """Measured tool centre in the base frame."""
        return tcp_pose(self.data)

    @property
    def width(self) -> float:
        """Metres between the fingers."""
        return float(self.data.qpos[self._finger_qpos].sum())

    def row(self, action: Floats) -> None:
        """One row [7] of a chunk: 1/15 s with the commanded pose moving evenly."""
        start = self.command
        steps = round(ROW_S / STEP_S)
        self._switch(float(action[6]))
        for index in range(steps):
            if index % COMMAND_STEPS == 0:
                self.command = start.moved(action[:6] * (index + COMMAND_STEPS) / steps)
            self._arm_torques()
            self._finger_forces()
            mujoco.mj_step(self.model, self.data)
        self.command = start.moved(action[:6])

    def _switch(self, value: float) -> None:
        wanted = value < 0.35 if not self._closing else value <= 0.65
        if wanted != self._closing and self.data.time - self._switched > GRIPPER_DWELL_S:
            self._closing, self._switched = wanted, self.data.time

    def _arm_torques(self) -> None:
        jacobian = np.zeros((6, self.model.nv))
        tool = self.tcp
        mujoco.mj_jac(self.model, self.data, jacobian[:3], jacobian[3:], tool.position, self._hand)
        j = jacobian[:, self._dof]
        turn = (self.command.rotation * tool.rotation.inv()).as_rotvec()
        error = np.concatenate([self.command.position - tool.position, turn])
        velocity = self.data.qvel[self._dof]
        torque = j.T @ (STIFFNESS * np.clip(error, -0.3, 0.3) - DAMPING * (j @ velocity))
        null = np.eye(7) - j.T @ np.linalg.pinv(j.T)
        posture = np.array(HOME_Q) - self.data.qpos[self._qpos]
        torque += null @ (POSTURE_STIFFNESS * posture - POSTURE_DAMPING * velocity)
        self.data.qfrc_applied[self._dof] = torque + self.data.qfrc_bias[self._dof]

    def _finger_forces(self) -> None:
        position = self.data.qpos[self._finger_qpos]
        velocity = self.data.qvel[self._finger_dof]
        aim = -FINGER_SPEED if self._closing else FINGER_SPEED
        force = 400.0 * (aim - velocity)
        if not self._closing:
            force = np.where(position > HAND_WIDTH_M / 2 - 0.001, 0.0, force)
        self.data.qfrc_applied[self._finger_dof] = np.clip(force, -FINGER_FORCE, FINGER_FORCE)
