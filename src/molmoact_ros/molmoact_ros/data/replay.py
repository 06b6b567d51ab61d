"""An episode's actions added up: as decoded against as commanded, as commanded against as measured.

What the model is taught goes through clipping, 256 bins and a frame convention; whether the same
motion comes out is best seen by driving it again. Rows hold commanded steps and measured poses.
The steps added up are the path that was commanded, which decoded ones must follow. The arm follows
it by a constant time and gives way a little: one time shift for the whole data set is allowed and
nothing else. Nothing is anchored again on the way, or a drift would not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.rows import BadData, EpisodeRows
from molmoact_ros.geometry import Floats, Pose, quaternion_from_rpy
from molmoact_ros.reasoning.actions import decode
from molmoact_ros.reasoning.statistics import ActionStatistics

LONGEST_LAG = 4
"""Ticks by which an arm may follow its commands."""
LAG_STEP = 0.25
FASTEST = 3.0
"""Metres a second; no arm's tool is faster, so such numbers are no metres."""


@dataclass(frozen=True)
class Error:
    """Largest distance of a driven path from the recorded one: metres, radians."""

    metres: float
    radians: float


@dataclass(frozen=True, eq=False)
class Recorded:
    """Measured tool poses of an episode at any of its times, seconds from its first tick.

    Between ticks: linear, rotations by slerp.
    """

    times: Floats
    positions: Floats
    rotations: Rotation

    @staticmethod
    def of(rows: EpisodeRows) -> Recorded:
        states = rows.states.astype(np.float64)
        return Recorded(rows.timestamps, states[:, :3], Rotation.from_euler("xyz", states[:, 3:6]))

    def at(self, times: Floats) -> tuple[Floats, Rotation]:
        """Positions [N, 3] and N rotations at ``times`` [N], which lie within the episode."""
        columns = [np.interp(times, self.times, column) for column in self.positions.T]
        return np.stack(columns, axis=1), Slerp(self.times, self.rotations)(times)

    def pose(self, time: float) -> Pose:
        position, rotation = self.at(np.array([time]))
        return Pose(position[0], rotation[0].as_quat())

    def error(self, poses: Sequence[Pose], times: Floats, lag: float) -> Error:
        """Of ``poses`` at ``times`` [N] from what was measured ``lag`` seconds later.

        Times outside the episode are left out; infinite when none is inside.
        """
        wanted = times + lag
        inside = np.flatnonzero((wanted >= self.times[0]) & (wanted <= self.times[-1]))
        if not inside.size:
            return Error(float("inf"), float("inf"))
        positions, rotations = self.at(wanted[inside])
        driven = np.stack([poses[i].position for i in inside])
        turned = Rotation.from_quat(np.stack([poses[i].quaternion for i in inside]))
        return Error(
            float(np.linalg.norm(driven - positions, axis=1).max()),
            float((turned * rotations.inv()).magnitude().max()),
        )


def why_not_replayed(rows: EpisodeRows, card: DataCard) -> str:
    """Why this episode's actions cannot be compared with its states; empty when they can."""
    if rows.chunks is not None:
        return "scattered states are no recording"
    if rows.actions.shape[1] != 7 or card.gripper_dims not in ((6,), (-1,)):
        return f"actions have {rows.actions.shape[1]} dimensions, not a pose and one gripper"
    if len(rows) < 3:
        return f"an episode of {len(rows)} ticks"
    if rows.states.shape[1] < 6 or not np.ptp(rows.states[:, :6], axis=0).any():
        return "no recorded tool poses"
    if rows.info.get("action_units", "").startswith("controller"):
        return f"actions are {rows.info['action_units']}"
    speed = float(np.quantile(np.linalg.norm(rows.actions[:, :3], axis=1), 0.99)) * card.fps
    if speed > FASTEST:
        return f"actions are no metres ({speed:.0f} m/s), but units of a controller"
    return ""


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


def decoded_error(rows: EpisodeRows, statistics: ActionStatistics, card: DataCard) -> Error:
    """Of the decoded path from the commanded one, both from the first measured pose."""
    first = Recorded.of(rows).pose(0.0)
    commanded = replayed(first, rows.actions.astype(np.float64), card.delta_frame)
    decoded = replayed(first, decoded_actions(rows, statistics), card.delta_frame)
    pairs = list(zip(commanded, decoded, strict=True))
    return Error(
        max(float(np.linalg.norm(a.position - b.position)) for a, b in pairs),
        max(a.angle_to(b) for a, b in pairs),
    )


def measured_error(rows: EpisodeRows, card: DataCard, lag: float) -> Error:
    """Of the commanded path, begun at the first pose, from what was measured ``lag`` s later."""
    recorded = Recorded.of(rows)
    lag = min(lag, float(rows.timestamps[-1]) / 2)
    poses = [recorded.pose(lag)]
    poses += replayed(poses[0], rows.actions[:-1].astype(np.float64), card.delta_frame)
    return recorded.error(poses, rows.timestamps, lag)


def arm_lag(episodes: Sequence[EpisodeRows], card: DataCard) -> float:
    """Seconds by which the arm follows its commands: the one time shift at which half of the
    episodes fit best. None is looked for where actions are differences of measured poses.
    """
    if card.action_source == "measured":
        return 0.0
    shifts = np.arange(0.0, LONGEST_LAG + LAG_STEP, LAG_STEP) / card.fps
    fits = [
        np.median([measured_error(rows, card, float(shift)).metres for rows in episodes])
        for shift in shifts
    ]
    return float(shifts[int(np.argmin(fits))])
