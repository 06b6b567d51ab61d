"""Joint angles for a tool pose: damped least squares on the MuJoCo arm.

For placing the arm in pictures and tests, not for control: it has no rate limits.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Pose
from molmoact_ros.sim.scene import HAND_BODY, tcp_pose

_DAMPING = 1e-3


def reach(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    start: Sequence[float] | NDArray[np.float64],
    target: Pose,
    steps: int = 60,
) -> NDArray[np.float64]:
    """Joint angles [7] that bring the tool centre to ``target`` (base frame), or close.

    Starts from ``start`` [7] and stays within the joint limits; out of reach it returns the
    best compromise, so check with ``tcp_pose``. Leaves ``data`` at the result.
    """
    q = np.array(start, dtype=np.float64)
    low, high = model.jnt_range[:7, 0] + 0.02, model.jnt_range[:7, 1] - 0.02
    hand = model.body(HAND_BODY).id
    jacobian = np.zeros((6, model.nv))
    for _ in range(steps):
        data.qpos[:7] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        here = tcp_pose(data)
        turn = (target.rotation * here.rotation.inv()).as_rotvec()
        error = np.concatenate([target.position - here.position, turn])
        if np.abs(error).max() < 1e-5:
            break
        mujoco.mj_jac(model, data, jacobian[:3], jacobian[3:], here.position, hand)
        arm = jacobian[:, :7]
        pull = np.linalg.solve(arm @ arm.T + _DAMPING * np.eye(6), error)
        q = np.clip(q + 0.7 * (arm.T @ pull), low, high)
    data.qpos[:7] = q
    mujoco.mj_kinematics(model, data)
    return q
