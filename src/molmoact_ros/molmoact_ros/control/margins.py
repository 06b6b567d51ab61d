"""How close the arm may come to the end of its joints and to configurations it cannot leave well.

A table's corner lies within the workspace box and still out of comfortable reach: there the elbow
straightens, small motions of the tool become large ones of the joints, and the robot stops itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.control.guards import twist_between
from molmoact_ros.control.kinematics import dexterity, joints_towards
from molmoact_ros.control.limits import Refused
from molmoact_ros.geometry import Floats, Pose

_SLACK_RAD = 0.03
_SLACK = 0.01
"""A reference that was turned back is anchored where the arm is, which then springs back a little
from it: without slack that place would be refused, and the arm disarmed."""


@dataclass(frozen=True)
class Margins:
    """low, high: joint limits [7] in rad. joint_rad: distance to keep from them. dexterity: the
    smallest singular value of the tool's Jacobian (SI units) to keep."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    joint_rad: float = 0.1
    dexterity: float = 0.05

    def __post_init__(self) -> None:
        low, high = np.asarray(self.low), np.asarray(self.high)
        if low.shape != (7,) or high.shape != (7,) or not (low + 2 * self.joint_rad < high).all():
            raise ValueError(
                f"joint limits {self.low} .. {self.high} with a margin of {self.joint_rad} rad "
                "leave no room; give seven pairs in rad and a smaller margin"
            )
        if not (self.joint_rad >= 0.0 and 0.0 <= self.dexterity < 1.0):
            raise ValueError(
                f"margins of {self.joint_rad} rad and dexterity {self.dexterity}: give numbers "
                "from 0 (off) up, 0.1 and 0.05 are usual"
            )

    def trespass(self, q: Floats) -> Floats:
        """How far each joint of ``q`` [7] is inside its margin, rad [7]; 0 outside of it."""
        low, high = np.asarray(self.low) + self.joint_rad, np.asarray(self.high) - self.joint_rad
        return np.maximum(np.maximum(low - q, q - high), 0.0)


def check_margins(
    q: Floats, measured: Pose, previous: Pose, wanted: Pose, margins: Margins
) -> None:
    """Raises Refused when ``wanted`` leads deeper into a margin than the arm already is.

    q: measured joints [7]. measured, previous, wanted: fr3_hand_tcp in the base frame now, of the
    last accepted reference and of the new one. What leads out of a margin is always allowed.
    Joint angles are predicted with the Jacobian: references lie centimetres ahead of the arm.
    """

    def ahead(pose: Pose) -> Floats:
        return q + joints_towards(q, twist_between(measured, pose, 1.0))

    goal = ahead(wanted)
    deep = margins.trespass(goal)
    goal_dexterity = dexterity(goal)
    if not deep.any() and goal_dexterity >= margins.dexterity:
        return
    before = ahead(previous)
    allowed = np.maximum(margins.trespass(before), margins.trespass(q))
    allowed = np.maximum(allowed + 1e-4, _SLACK_RAD)
    if (deep > allowed).any():
        joint = int(np.argmax(deep - allowed))
        raise Refused(
            f"joint {joint + 1} at {q[joint]:.2f} rad is near its limit "
            f"({margins.low[joint]:.2f} .. {margins.high[joint]:.2f}); move or turn the tool back, "
            "or send the arm home"
        )
    least = min(dexterity(before) - 1e-4, dexterity(q) - 1e-4, margins.dexterity - _SLACK)
    if goal_dexterity < least:
        raise Refused(
            f"the arm is near a singularity (dexterity {goal_dexterity:.3f}, kept above "
            f"{margins.dexterity:g}): its elbow is almost straight or two axes line up; move the "
            "tool back towards the robot, or place the work closer"
        )
