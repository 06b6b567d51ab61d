"""The Franka hand's motor: one drive, two coupled fingers, a speed and a force it keeps to.

franky-sim's own drive switches between full force and braking to limit the speed; its
fingers arrive at about twice the commanded speed and knock light cubes away. Here a width
setpoint travels at the commanded speed and the fingers follow it with a limited force.
"""

from __future__ import annotations

from typing import Any

import mujoco

# Firm, so that the commanded force is reached millimetres behind the contact: what a finger
# springs forward when a held object slips out is force / stiffness.
STIFFNESS = 16000.0  # N/m per finger
DAMPING = 100.0  # N s/m per finger; 0.86 of critical for the fingers' 0.21 kg
_TIMESTEP = 0.001


class HandDrive:
    """Replaces ``_pre_step`` of franky-sim's robot. Make it after the simulator has started.

    Goals still come from the wheel's gripper server: total width (m), speed per finger
    (m/s, at most 0.05) and force per finger (N). ``jammed``: the fingers stay where they are.
    """

    def __init__(self, robot: Any, data: mujoco.MjData) -> None:
        self._robot = robot
        self._qpos, self._qvel, self._applied = data.qpos, data.qvel, data.qfrc_applied
        self._positions = tuple(robot._finger_qpos_addrs)
        self._speeds = tuple(robot._finger_dof_addrs)
        self._reference = robot.hand_width / 2
        self.jammed = False
        robot._pre_step = self.step

    def step(self) -> None:
        """Set both fingers' forces for the next millisecond."""
        robot = self._robot
        goal, speed = robot._hand_goal_width / 2, robot._hand_goal_velocity
        limit = max(0.0, robot._hand_goal_force)
        (a, b), (va, vb) = self._positions, self._speeds
        position = 0.5 * float(self._qpos[a] + self._qpos[b])
        velocity = 0.5 * float(self._qvel[va] + self._qvel[vb])
        travel = 0.0 if self.jammed else max(0.0, speed) * _TIMESTEP
        step = min(max(goal - self._reference, -travel), travel)
        # A blocked finger must not let the setpoint run ahead: it would snap shut once free.
        leash = limit / STIFFNESS
        self._reference = min(max(self._reference + step, position - leash), position + leash)
        force = STIFFNESS * (self._reference - position) + DAMPING * (step / _TIMESTEP - velocity)
        force = min(max(force, -limit), limit)
        self._applied[va] = force
        self._applied[vb] = force
