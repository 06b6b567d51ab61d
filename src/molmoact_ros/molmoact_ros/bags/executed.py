"""What the arm really did after a moment: rows like an action chunk, and its path in the image."""

from __future__ import annotations

import numpy as np

from molmoact_ros.bags.decode import stamp_seconds
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.bags.roles import Roles, pose_of
from molmoact_ros.bags.signals import Track, empty
from molmoact_ros.geometry import Camera, Floats, Pose, interpolate


class Executed:
    """Measured poses and gripper commands of a whole bag, looked up by stamp (seconds)."""

    def __init__(self, reader: BagReader, roles: Roles | None = None) -> None:
        roles = roles or Roles()
        poses: list[tuple[float, list[float]]] = []
        grips: list[tuple[float, list[float]]] = []
        for message in reader.messages([roles.measured, roles.gripper_command]):
            decoded = reader.decode(message)
            if message.topic == roles.measured:
                pose = pose_of(decoded.pose)
                values = [*map(float, pose.position), *map(float, pose.quaternion)]
                poses.append((stamp_seconds(decoded), values))
            else:
                grips.append((message.log_ns * 1e-9, [float(decoded.data)]))
        self.poses, self.grips = _track(poses, 7), _track(grips, 1)

    def pose(self, stamp: float) -> Pose | None:
        """Interpolated; None outside the recording."""
        times = self.poses.times
        if not len(times) or not times[0] <= stamp <= times[-1]:
            return None
        after = min(max(1, int(np.searchsorted(times, stamp))), len(times) - 1)
        before = after - 1
        span = times[after] - times[before]
        share = (stamp - times[before]) / span if span > 0 else 0.0
        return interpolate(self._pose(before), self._pose(after), float(np.clip(share, 0.0, 1.0)))

    def _pose(self, index: int) -> Pose:
        values = self.poses.values[index]
        return Pose(values[:3], values[3:])

    def rows(self, stamp: float, count: int, period: float) -> Floats | None:
        """Deltas and gripper [count, 7] from ``stamp`` on; None when the recording is too short.

        The gripper column is NaN when no command was recorded.
        """
        found = [self.pose(stamp + i * period) for i in range(count + 1)]
        poses = [pose for pose in found if pose is not None]
        if len(poses) < count + 1:
            return None
        deltas = [a.delta_to(b) for a, b in zip(poses[:-1], poses[1:], strict=True)]
        grip = [self.gripper(stamp + (i + 1) * period) for i in range(count)]
        return np.column_stack([np.array(deltas), np.array(grip)])

    def gripper(self, stamp: float) -> float:
        """The command that held at ``stamp``, 1 open; NaN before the first."""
        index = int(np.searchsorted(self.grips.times, stamp, side="right")) - 1
        return float(self.grips.values[index, 0]) if index >= 0 else float("nan")

    def path(self, stamp: float, horizon: float, camera: Camera) -> Floats:
        """Grid points [L, 2] of the tool from ``stamp`` on, every 0.1 s, in front of the camera."""
        moments = np.arange(stamp, stamp + horizon, 0.1)
        poses = [self.pose(float(moment)) for moment in moments]
        points = [pose.position for pose in poses if pose is not None]
        if not points:
            return np.zeros((0, 2))
        pixels, depth = camera.project(np.stack(points))
        return camera.grid_from_pixels(pixels[depth > 0.0])


def _track(entries: list[tuple[float, list[float]]], columns: int) -> Track:
    if not entries:
        return empty(columns)
    entries.sort(key=lambda entry: entry[0])
    return Track(np.array([t for t, _ in entries]), np.array([v for _, v in entries]))
