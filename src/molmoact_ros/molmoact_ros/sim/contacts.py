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
_COMPONENTS = np.arange(6)
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


_NOTHING: Floats = np.zeros(6 + ARM_JOINTS)


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
        self._depth = _depths(model, self._joints)
        moving: NDArray[np.bool_] = np.asarray(self._depth > 0)
        self._moving_bodies = np.flatnonzero(moving)
        self._geom_moves = moving[model.geom_bodyid]
        self._keep = math.exp(-timestep / time_constant)
        self._contact_force = np.zeros(6)
        self._filtered: Floats = np.zeros(6 + ARM_JOINTS)
        self._settled = True
        self._quiet = ExternalForce.zero()

    def update(self, data: mujoco.MjData) -> ExternalForce:
        """Call once a step, right after mj_step. Returns the filtered estimate."""
        raw = self.measure(data)
        if raw is _NOTHING and self._settled:
            return self._quiet
        self._filtered = self._keep * self._filtered + (1.0 - self._keep) * raw
        self._filtered[np.abs(self._filtered) < _FORGOTTEN] = 0.0
        self._settled = not self._filtered.any()
        wrench, torques = self._filtered[:6], self._filtered[6:]
        axes = data.xmat[self._hand].reshape(3, 3)
        local = np.concatenate([wrench[:3] @ axes, wrench[3:] @ axes])
        return ExternalForce(wrench, local, torques)

    def measure(self, data: mujoco.MjData) -> Floats:
        """Unfiltered [6 + 7]: wrench about the tool centre and joint torques, libfranka's sign."""
        wrenches: dict[int, Floats] = {}  # on the world about the tcp, by depth in the arm
        if data.ncon:
            self._add_contacts(data, wrenches)
        pushes = data.xfrc_applied[self._moving_bodies]
        if pushes.any():
            tcp = self._tool(data)
            for body, push in zip(self._moving_bodies, pushes, strict=True):
                turn = push[3:] + _cross(data.xipos[body] - tcp, push[:3])
                depth = int(self._depth[body])
                own = wrenches.get(depth, 0.0)
                wrenches[depth] = own - np.concatenate([push[:3], turn])
        if not wrenches:
            return _NOTHING
        total = np.zeros(6 + ARM_JOINTS)
        lever = self._tool(data) - data.xanchor[self._joints]
        axes = data.xaxis[self._joints]
        for depth, wrench in wrenches.items():
            about_joints = wrench[3:] + _cross(lever, wrench[:3])
            total[:6] += wrench
            # Joints beyond the body do not feel what happens to it.
            total[6 : 6 + depth] += (axes * about_joints).sum(axis=1)[:depth]
        return total

    def _tool(self, data: mujoco.MjData) -> Floats:
        return np.asarray(data.xpos[self._hand] + TCP_OFFSET * data.xmat[self._hand, 2::3])

    def _add_contacts(self, data: mujoco.MjData, wrenches: dict[int, Floats]) -> None:
        pairs = data.contact.geom
        moves = self._geom_moves[pairs]
        # Contacts inside the arm cancel out and are no news from outside.
        touching = np.flatnonzero(moves[:, 0] != moves[:, 1])
        if not touching.size:
            return
        local = contact_forces(self._model, data, touching)
        is_first = moves[touching, 0]
        # MuJoCo's contact force acts on the second geom; ours is the arm's on the world.
        sign = np.where(is_first, 1.0, -1.0)[:, None]
        frames = data.contact.frame[touching].reshape(-1, 3, 3)
        force = sign * np.einsum("ni,nij->nj", local[:, :3], frames)
        moment = sign * np.einsum("ni,nij->nj", local[:, 3:], frames)
        moment += _cross(data.contact.pos[touching] - self._tool(data), force)
        geoms = np.where(is_first, pairs[touching, 0], pairs[touching, 1])
        depths = self._depth[self._model.geom_bodyid[geoms]]
        both = np.hstack([force, moment])
        for depth in set(depths.tolist()):
            wrenches[depth] = both[depths == depth].sum(axis=0)


def contact_forces(
    model: mujoco.MjModel, data: mujoco.MjData, contacts: NDArray[np.int_]
) -> Floats:
    """Force and moment [n, 6] of ``contacts`` [n] in their own frames, as mj_contactForce."""
    local = np.zeros((contacts.size, 6))
    if model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC:
        # Here constraint forces ARE the contact's components; a held cube has 32 contacts, and
        # a call for each would cost as much as the rest of the step.
        rows = data.contact.efc_address[contacts, None] + _COMPONENTS
        real = (data.contact.dim[contacts, None] > _COMPONENTS) & (rows >= _COMPONENTS)
        local[real] = data.efc_force[rows[real]]
        return local
    for row, contact in zip(local, contacts, strict=True):
        mujoco.mj_contactForce(model, data, contact, row)
    return local


def _cross(a: Floats, b: Floats) -> Floats:
    """numpy.cross of [..., 3] arrays at a tenth of its overhead; it runs every millisecond."""
    left = a[..., _NEXT] * b[..., _AFTER_NEXT]
    return np.asarray(left - a[..., _AFTER_NEXT] * b[..., _NEXT])


def _depths(model: mujoco.MjModel, joints: NDArray[np.int_]) -> NDArray[np.int_]:
    """[nbody]: how many of the arm's joints move a body; 0 for everything but the arm."""
    owners = model.jnt_bodyid[joints].tolist()
    depths = np.zeros(model.nbody, dtype=int)
    for body in range(1, model.nbody):  # parents come before children
        depths[body] = depths[model.body_parentid[body]] + (body in owners)
    return depths
