"""Where the tool was at any instant: from recorded poses, or from the joints of the arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from molmoact_ros.control.kinematics import tool_pose
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.resampling import Stamps, Stream, numbers_at, pose_at
from molmoact_ros.geometry import Floats, Pose


class Track(Protocol):
    """Tool centre in the base frame."""

    @property
    def stamps(self) -> Stamps:
        """Of its samples: int64 [N], ns."""
        ...

    def at(self, instants: Stamps) -> list[Pose]:
        """Interpolated. Raises BadEpisode outside the samples."""
        ...


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Of measured or commanded poses."""

    poses: Stream[Pose]

    @property
    def stamps(self) -> Stamps:
        return self.poses.stamps

    def at(self, instants: Stamps) -> list[Pose]:
        _check(self.stamps, instants)
        found = [pose_at(self.poses, int(instant)) for instant in instants]
        return [pose for pose in found if pose is not None]


@dataclass(frozen=True, eq=False)
class JointTrack:
    """Of joint angles [7] in rad through the arm's kinematics (FR3 and Panda, Franka Hand)."""

    joints: Stream[Floats]

    @property
    def stamps(self) -> Stamps:
        return self.joints.stamps

    def at(self, instants: Stamps) -> list[Pose]:
        _check(self.stamps, instants)
        return [tool_pose(angles) for angles in numbers_at(self.joints, instants)]


def _check(stamps: Stamps, instants: Stamps) -> None:
    if len(instants) and not stamps[0] <= instants[0] <= instants[-1] <= stamps[-1]:
        raise BadEpisode("the tool pose is missing at a tick; its topic stopped in the episode")
