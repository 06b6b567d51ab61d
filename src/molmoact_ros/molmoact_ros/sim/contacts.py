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
_NEXT, _AFTER_NEXT = [1, 2, 0], [2, 0, 1]
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
        moving: NDArray[np.bool_] = np.asarray(self._carried_by.any(axis=1))
        self._moving_bodies = np.flatnonzero(moving)
        self._geom_moves = moving[model.geom_bodyid]
        self._keep = math.exp(-timestep / time_constant)
        self._contact_force = np.zeros(6)
        self._filtered: Floats = np.zeros(6 + ARM_JOINTS)
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
        tcp = data.xpos[self._hand] + TCP_OFFSET * data.xmat[self._hand, 2::3]
        wrenches: dict[int, Floats] = {}  # of each body of the arm on the world, about the tcp
        if data.ncon:
            self._add_contacts(data, tcp, wrenches)
        pushes = data.xfrc_applied[self._moving_bodies]
        if pushes.any():
            for body, push in zip(self._moving_bodies, pushes, strict=True):
                turn = push[3:] + _cross(data.xipos[body] - tcp, push[:3])
                own = wrenches.get(int(body), 0.0)
                wrenches[int(body)] = own - np.concatenate([push[:3], turn])
        total = np.zeros(6 + ARM_JOINTS)
        lever = tcp - data.xanchor[self._joints]
        axes = data.xaxis[self._joints]
        for body_id, wrench in wrenches.items():
            about_joints = wrench[3:] + _cross(lever, wrench[:3])
            total[:6] += wrench
            total[6:] += (axes * about_joints).sum(axis=1) * self._carried_by[body_id]
        return total

    def _add_contacts(self, data: mujoco.MjData, tcp: Floats, wrenches: dict[int, Floats]) -> None:
        pairs = data.contact.geom
        moves = self._geom_moves[pairs]
        # Contacts inside the arm cancel out and are no news from outside.
        touching = np.flatnonzero(moves[:, 0] != moves[:, 1])
        if not touching.size:
            return
        local = np.zeros((touching.size, 6))
        for row, contact in zip(local, touching, strict=True):
            mujoco.mj_contactForce(self._model, data, contact, row)
        is_first = moves[touching, 0]
        # MuJoCo's contact force acts on the second geom; ours is the arm's on the world.
        sign = np.where(is_first, 1.0, -1.0)[:, None]
        frames = data.contact.frame[touching].reshape(-1, 3, 3)
        force = sign * np.einsum("ni,nij->nj", local[:, :3], frames)
        moment = sign * np.einsum("ni,nij->nj", local[:, 3:], frames)
        moment += _cross(data.contact.pos[touching] - tcp, force)
        geoms = np.where(is_first, pairs[touching, 0], pairs[touching, 1])
        bodies = self._model.geom_bodyid[geoms]
        for body in set(bodies.tolist()):
            mine = bodies == body
            wrenches[body] = np.concatenate([force[mine].sum(axis=0), moment[mine].sum(axis=0)])


def _cross(a: Floats, b: Floats) -> Floats:
    """numpy.cross of [..., 3] arrays at a tenth of its overhead; it runs every millisecond."""
    left = a[..., _NEXT] * b[..., _AFTER_NEXT]
    return np.asarray(left - a[..., _AFTER_NEXT] * b[..., _NEXT])


def _carried_by(model: mujoco.MjModel, joints: NDArray[np.int_]) -> NDArray[np.bool_]:
    """[nbody, 7]: whether arm joint j moves body b."""
    owners = model.jnt_bodyid[joints]
    carried = np.zeros((model.nbody, len(joints)), dtype=bool)
    for body in range(1, model.nbody):  # parents come before children
        carried[body] = carried[model.body_parentid[body]] | (owners == body)
    return carried
