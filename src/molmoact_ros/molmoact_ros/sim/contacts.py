"""What the world does to the arm: external wrench and joint torques from MuJoCo contacts.

A real FR3 estimates these from its joint torque sensors; here they are exact, then low-passed
like the robot's own. Signs follow the robot, not its manual: O_F_ext_hat_K and
tau_ext_hat_filtered are what the ROBOT exerts on the world (libfranka issue 26,
franka_ros issue 254). The two stay consistent: tau_ext = J^T F (libfranka issue 112).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Floats

ARM_JOINTS = 7
_FORGOTTEN = 1e-9  # N, Nm: where a decaying estimate becomes nothing
TCP_OFFSET = 0.1034  # hand frame to tool centre along the hand's z, metres (FR3 hand data sheet)


@dataclass(frozen=True)
class ExternalForce:
    """Filtered estimate in libfranka's sign.

    wrench: [6] N and Nm about the tool centre, in base axes (O_F_ext_hat_K).
    local_wrench: [6] the same in the tool's axes (K_F_ext_hat_K). torques: [7] Nm.
    """

    wrench: Floats
    local_wrench: Floats
    torques: Floats

    @staticmethod
    def zero() -> ExternalForce:
        return ExternalForce(np.zeros(6), np.zeros(6), np.zeros(ARM_JOINTS))


class ContactSensor:
    """Sums contacts (and applied pushes) between the moving arm and everything else.

    ``prefix`` is franky-sim's name prefix of the robot. ``time_constant`` (seconds) is that of
    the first-order low-pass; ``timestep`` is the physics step it runs at.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        prefix: str = "robot0_",
        time_constant: float = 0.01,
        timestep: float = 0.001,
    ) -> None:
        self._model = model
        self._joints = np.array(
            [model.joint(f"{prefix}fr3_joint{i}").id for i in range(1, ARM_JOINTS + 1)]
        )
        self._hand = model.body(f"{prefix}hand").id
        self._carried_by = _carried_by(model, self._joints)
        moving = self._carried_by.any(axis=1)
        self._moving_bodies = np.flatnonzero(moving)
        self._geom_moves = moving[model.geom_bodyid]
        self._keep = math.exp(-timestep / time_constant)
        self._contact_force = np.zeros(6)
        self._filtered = np.zeros(6 + ARM_JOINTS)
        self._quiet = ExternalForce.zero()

    def update(self, data: mujoco.MjData) -> ExternalForce:
        """Call once a step, right after mj_step. Returns the filtered estimate."""
        raw = self.measure(data)
        if not raw.any() and not self._filtered.any():
            return self._quiet
        self._filtered = self._keep * self._filtered + (1.0 - self._keep) * raw
        self._filtered[np.abs(self._filtered) < _FORGOTTEN] = 0.0
        wrench, torques = self._filtered[:6], self._filtered[6:]
        axes = data.xmat[self._hand].reshape(3, 3)
        local = np.concatenate([wrench[:3] @ axes, wrench[3:] @ axes])
        return ExternalForce(wrench, local, torques)

    def measure(self, data: mujoco.MjData) -> Floats:
        """Unfiltered [6 + 7]: wrench about the tool centre and joint torques, libfranka's sign."""
        total = np.zeros(6 + ARM_JOINTS)
        tcp = data.xpos[self._hand] + TCP_OFFSET * data.xmat[self._hand, 2::3]
        if data.ncon:
            pairs = data.contact.geom
            moves = self._geom_moves[pairs]
            first = moves[:, 0]
            # Contacts inside the arm cancel out and are no news from outside.
            for i in np.flatnonzero(first != moves[:, 1]):
                contact = data.contact[i]
                mujoco.mj_contactForce(self._model, data, i, self._contact_force)
                # MuJoCo's contact force acts on the second geom; ours is the arm's on the world.
                axes = contact.frame.reshape(3, 3) * (1.0 if first[i] else -1.0)
                body = self._model.geom_bodyid[pairs[i, 0] if first[i] else pairs[i, 1]]
                force, moment = self._contact_force[:3] @ axes, self._contact_force[3:] @ axes
                total += self._effect(data, tcp, body, contact.pos, force, moment)
        pushes = data.xfrc_applied[self._moving_bodies]
        if pushes.any():
            for body, push in zip(self._moving_bodies, pushes, strict=True):
                at = data.xipos[body]
                total += self._effect(data, tcp, body, at, -push[:3], -push[3:])
        return total

    def _effect(
        self,
        data: mujoco.MjData,
        tcp: Floats,
        body: int,
        point: Floats,
        force: Floats,
        moment: Floats,
    ) -> Floats:
        """A force [3] and moment [3] of ``body`` at ``point`` as wrench [6] and torques [7]."""
        arms = point - data.xanchor[self._joints]
        about_joints = np.cross(arms, force) + moment
        torques = np.einsum("ij,ij->i", data.xaxis[self._joints], about_joints)
        return np.concatenate(
            [force, np.cross(point - tcp, force) + moment, torques * self._carried_by[body]]
        )


def _carried_by(model: mujoco.MjModel, joints: NDArray[np.int_]) -> NDArray[np.bool_]:
    """[nbody, 7]: whether arm joint j moves body b."""
    owners = model.jnt_bodyid[joints]
    carried = np.zeros((model.nbody, len(joints)), dtype=bool)
    for body in range(1, model.nbody):  # parents come before children
        carried[body] = carried[model.body_parentid[body]] | (owners == body)
    return carried
