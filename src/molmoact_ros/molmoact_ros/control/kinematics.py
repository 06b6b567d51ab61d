"""Where the tool is and how the joints move it: forward kinematics and Jacobian of FR3 and Panda.

The two arms share their geometry (Denavit-Hartenberg parameters in Craig's convention, Franka
Control Interface documentation, "Denavit-Hartenberg parameters"). Plain numpy, so that the guards
that need a Jacobian run where no franky is installed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.geometry import Floats, Pose

JOINTS = 7
_A = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_D = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_ALPHA = (0.0, -math.pi / 2, math.pi / 2, math.pi / 2, -math.pi / 2, math.pi / 2, math.pi / 2)
_FLANGE_M = 0.107
FLANGE_FROM_TCP = np.array(
    [
        [math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0],
        [-math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.1034],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""fr3_hand_tcp in fr3_link8 (franka_description, end_effectors/franka_hand)."""


def _frames(q: ArrayLike) -> list[Floats]:
    """Joint frames 1..7 and the tool, each a matrix [4, 4] in the base frame."""
    angles = np.asarray(q, dtype=np.float64)
    if angles.shape != (JOINTS,) or not np.isfinite(angles).all():
        raise ValueError(f"joint angles {angles}: give seven finite numbers in rad")
    frame, out = np.eye(4), []
    for a, d, alpha, angle in zip(_A, _D, _ALPHA, map(float, angles), strict=True):
        c, s, ca, sa = math.cos(angle), math.sin(angle), math.cos(alpha), math.sin(alpha)
        step = np.array(
            [
                [c, -s, 0.0, a],
                [s * ca, c * ca, -sa, -d * sa],
                [s * sa, c * sa, ca, d * ca],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
        frame = frame @ step
        out.append(frame)
    flange = frame.copy()
    flange[:3, 3] += _FLANGE_M * frame[:3, 2]
    out.append(flange @ FLANGE_FROM_TCP)
    return out


def tool_pose(q: ArrayLike) -> Pose:
    """fr3_hand_tcp in fr3_link0 for joint angles [7] in rad. Raises ValueError."""
    return Pose.from_matrix(_frames(q)[-1])


def jacobian(q: ArrayLike) -> Floats:
    """The geometric Jacobian [6, 7] of fr3_hand_tcp in the base frame: m/s, rad/s per rad/s."""
    frames = np.stack(_frames(q))
    axes, origins = frames[:JOINTS, :3, 2], frames[:JOINTS, :3, 3]
    levers = frames[JOINTS, :3, 3] - origins
    out = np.empty((6, JOINTS))
    # A cross product by hand: np.cross costs more than the rest of this function.
    out[0] = axes[:, 1] * levers[:, 2] - axes[:, 2] * levers[:, 1]
    out[1] = axes[:, 2] * levers[:, 0] - axes[:, 0] * levers[:, 2]
    out[2] = axes[:, 0] * levers[:, 1] - axes[:, 1] * levers[:, 0]
    out[3:] = axes.T
    return out


def dexterity(q: ArrayLike) -> float:
    """The smallest singular value of the Jacobian: 0 where a direction of motion is lost.

    In SI units (m/s and rad/s per rad/s) it is about 0.1 to 0.25 over a table and falls towards
    0 when the elbow straightens.
    """
    return float(np.linalg.svd(jacobian(q), compute_uv=False)[-1])


def joints_towards(q: ArrayLike, twist: ArrayLike, damping: float = 0.02) -> Floats:
    """Joint velocities [7] that give the tool ``twist`` [6]; damped, so finite everywhere."""
    matrix = jacobian(q)
    gram = matrix @ matrix.T + damping**2 * np.eye(6)
    solved = np.linalg.solve(gram, np.asarray(twist, dtype=np.float64))
    return np.asarray(matrix.T @ solved, dtype=np.float64)
