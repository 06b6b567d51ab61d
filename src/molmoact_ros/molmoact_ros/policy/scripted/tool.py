"""Tool poses in a planning loop: the general rules of ``geometry``, quick when little turns.

A plan is a hundred rows of a dozen pose operations each; a general rotation object costs more
than all the rest, and most rows turn nothing.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.scripted.percept import Floats


def tool_yaw(pose: Pose) -> float:
    """``pose.yaw``: rotation of the tool's x axis about base z, radians."""
    x, y, z, w = pose.quaternion.tolist()
    return math.atan2(2.0 * (x * y + z * w), 1.0 - 2.0 * (y * y + z * z))


def turn_to_straight_down(pose: Pose, yaw: float, rest: float) -> Floats:
    """Rotation vector [3], base frame, that makes the tool look down with ``yaw``.

    Exactly zero where the angle is below ``rest`` radians.
    """
    # Rz(yaw) Rx(pi) as (x, y, z, w).
    wanted = np.array([math.cos(yaw / 2), math.sin(yaw / 2), 0.0, 0.0])
    if 2.0 * math.acos(min(1.0, abs(float(wanted @ pose.quaternion)))) < rest:
        return np.zeros(3)
    turn = Rotation.from_quat(wanted) * pose.rotation.inv()
    return np.asarray(turn.as_rotvec())


def euler_of(rotvec: Floats) -> Floats:
    """A rotation vector [3] as extrinsic xyz angles, the convention of a delta row."""
    if not rotvec.any():
        return np.zeros(3)
    return np.asarray(Rotation.from_rotvec(rotvec).as_euler("xyz"))


def moved(pose: Pose, delta: Floats) -> Pose:
    """``pose.moved(delta)``."""
    if not delta[3:].any():
        return Pose(pose.position + delta[:3], pose.quaternion)
    return pose.moved(delta)


def followed(pose: Pose, goal: Pose, share: float) -> Pose:
    """``pose`` after it made good ``share`` (0..1) of the way to ``goal``."""
    position = pose.position + share * (goal.position - pose.position)
    dot = float(pose.quaternion @ goal.quaternion)
    if abs(dot) > 1.0 - 1e-9:
        return Pose(position, goal.quaternion)
    # A row turns by a few degrees: the normalised chord is the arc.
    mixed = (1.0 - share) * pose.quaternion + math.copysign(share, dot) * goal.quaternion
    return Pose(position, mixed / np.linalg.norm(mixed))


def turned(before: Pose, after: Pose, vector: Floats) -> Floats:
    """A base-frame vector [3] fixed to the tool, after the tool turned."""
    if abs(float(before.quaternion @ after.quaternion)) > 1.0 - 1e-12:
        return vector
    return np.asarray((after.rotation * before.rotation.inv()).apply(vector))
