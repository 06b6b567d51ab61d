"""An episode's decoded actions added up, against the poses that were recorded.

What the model is taught goes through clipping, 256 bins and a frame convention; whether the same
motion comes out is best seen by driving it again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.rows import BadData, EpisodeRows
from molmoact_ros.geometry import Floats, Pose, quaternion_from_rpy
from molmoact_ros.reasoning.actions import decode
from molmoact_ros.reasoning.statistics import ActionStatistics

LONGEST_LAG = 4
"""Ticks by which an arm may follow its commands."""


def decoded_actions(rows: EpisodeRows, statistics: ActionStatistics) -> Floats:
    """Actions [T, D] in physical units as a robot would get them."""
    if rows.bins is None:
        raise BadData("labelling was not finished; run molmoact label again")
    return statistics.unnormalise(decode(rows.bins))


def replayed(first: Pose, actions: Floats, frame: str) -> list[Pose]:
    """Poses after each action [T, D], starting at ``first``; frame: base or tool."""
    poses, pose = [], first
    for action in actions:
        if frame == "base":
            pose = pose.moved(action[:6])
        else:
            step = Pose(action[:3], quaternion_from_rpy(*map(float, action[3:6])))
            pose = Pose.from_matrix(pose.matrix @ step.matrix)
        poses.append(pose)
    return poses


def replay_error(
    rows: EpisodeRows, statistics: ActionStatistics, card: DataCard
) -> tuple[float, float]:
    """Mean distance (metres, radians) of the replayed from the recorded path.

    The recorded arm lags behind its commands by a constant time: the best lag of a few ticks
    counts. The commanded start is not recorded, so both paths are compared from their means.
    """
    recorded = [state_pose(state) for state in rows.states]
    driven = replayed(recorded[0], decoded_actions(rows, statistics), card.delta_frame)
    a = np.stack([pose.position for pose in driven])
    b = np.stack([pose.position for pose in recorded])
    best = (float("inf"), float("inf"))
    for lag in range(min(LONGEST_LAG, len(b) - 2) + 1):
        # Row i of the replay is the pose at tick i + 1.
        x, y = a[: len(a) - 1 - lag], b[1 + lag :]
        metres = float(np.linalg.norm((x - x.mean(0)) - (y - y.mean(0)), axis=1).mean())
        turns = [p.angle_to(q) for p, q in zip(driven[: len(x)], recorded[1 + lag :], strict=True)]
        if metres < best[0]:
            best = metres, float(np.mean(turns))
    return best


def state_pose(state: NDArray[np.float32]) -> Pose:
    """Pose of a stored state (x y z roll pitch yaw ...)."""
    values = state.astype(np.float64)
    return Pose(values[:3], quaternion_from_rpy(*map(float, values[3:6])))
