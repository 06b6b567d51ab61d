"""Leader devices that have a pose of their own: a VR controller, or GELLO through its joints.

While the clutch is held the arm repeats the leader's motion since it was pressed, scaled; let go,
the leader may be moved back to a comfortable place. Times are seconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmoact_ros.control.guards import twist_between
from molmoact_ros.control.kinematics import JOINTS, tool_pose
from molmoact_ros.geometry import Floats, Pose, conjugate, multiply
from molmoact_ros.teleop.hand import BadDevice

GAIN_PER_S = 4.0
TIMEOUT_S = 0.25


def leader_pose(joints: Sequence[float]) -> Pose:
    """The tool of a leader with the arm's own joints (GELLO), rad. Raises BadDevice."""
    if len(joints) < JOINTS:
        raise BadDevice(
            f"the leader reports {len(joints)} joints, {JOINTS} are needed in the arm's order; "
            "remap leader/joint_states to the topic of the right device"
        )
    try:
        return tool_pose(np.asarray(joints[:JOINTS], dtype=np.float64))
    except ValueError as error:
        raise BadDevice(str(error)) from error


class Leader:
    """Turns leader poses into twists of the follower."""

    def __init__(self, scale: float = 1.0, turn: bool = True) -> None:
        if not 0.0 < scale <= 2.0:
            raise BadDevice(f"scale {scale}: give a number above 0, at most 2")
        self._scale, self._turn = scale, turn
        self._pose: tuple[Pose, float] | None = None
        self._from: tuple[Pose, Pose] | None = None

    def feed(self, pose: Pose, now: float) -> None:
        """The leader's pose, in a frame whose axes are the base's."""
        self._pose = pose, now

    def twist(self, clutch: bool, follower: Pose, now: float) -> Floats | None:
        """The twist [6] in the base frame; None while the clutch is open or the leader silent."""
        alive = self._pose is not None and 0.0 <= now - self._pose[1] <= TIMEOUT_S
        if not clutch or not alive or self._pose is None:
            self._from = None
            return None
        leader = self._pose[0]
        if self._from is None:
            self._from = leader, follower
        leader_from, follower_from = self._from
        moved = self._scale * (leader.position - leader_from.position)
        quaternion = follower_from.quaternion
        if self._turn:
            turned = multiply(leader.quaternion, conjugate(leader_from.quaternion))
            quaternion = multiply(turned, quaternion)
        wanted = Pose(follower_from.position + moved, quaternion)
        return GAIN_PER_S * twist_between(follower, wanted, 1.0)
