"""Poses, rotations and pinhole cameras: the numbers every other module shares.

Frames follow REP-103/105. Lengths are metres, angles radians, quaternions are
(x, y, z, w). A rotation delta (droll, dpitch, dyaw) is extrinsic xyz about the
BASE axes: R_new = Rz(dyaw) Ry(dpitch) Rx(droll) R_old. This is the card field
``delta_frame: base, euler: xyz-extrinsic``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """A rigid transform: position [3] in metres and unit quaternion [4] (x, y, z, w)."""

    position: Floats
    quaternion: Floats

    @staticmethod
    def from_matrix(matrix: Floats) -> Pose:
        """From a homogeneous matrix [4, 4]."""
        return Pose(
            np.array(matrix[:3, 3], dtype=np.float64),
            Rotation.from_matrix(matrix[:3, :3]).as_quat(),
        )

    @property
    def matrix(self) -> Floats:
        """The homogeneous matrix [4, 4]."""
        out = np.eye(4)
        out[:3, :3] = self.rotation.as_matrix()
        out[:3, 3] = self.position
        return out

    @property
    def rotation(self) -> Rotation:
        return Rotation.from_quat(self.quaternion)

    @property
    def yaw(self) -> float:
        """Rotation about the base z axis of the tool's x axis, radians."""
        x_axis = self.rotation.as_matrix()[:, 0]
        return float(np.arctan2(x_axis[1], x_axis[0]))

    def moved(self, delta: Floats) -> Pose:
        """This pose after a delta [6] (dx dy dz droll dpitch dyaw) in the base frame."""
        turn = Rotation.from_euler("xyz", delta[3:6])
        return Pose(self.position + delta[:3], (turn * self.rotation).as_quat())

    def delta_to(self, other: Pose) -> Floats:
        """The delta [6] in the base frame that moves this pose onto ``other``."""
        turn = other.rotation * self.rotation.inv()
        return np.concatenate([other.position - self.position, turn.as_euler("xyz")])


def interpolate(a: Pose, b: Pose, fraction: float) -> Pose:
    """Linear in position, slerp in rotation; ``fraction`` in [0, 1]."""
    turn = Slerp([0.0, 1.0], Rotation.concatenate([a.rotation, b.rotation]))(fraction)
    return Pose(a.position + fraction * (b.position - a.position), turn.as_quat())


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion, as sensor_msgs/CameraInfo describes it.

    ``base_from_optical`` is the pose [4, 4] of the optical frame (z forward, x right,
    y down) in the robot's base frame.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    base_from_optical: Floats

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Base-frame points [N, 3] to pixels [N, 2] and depths [N] in metres.

        Points at or behind the camera have a depth <= 0 and meaningless pixels.
        """
        rotation, origin = self.base_from_optical[:3, :3], self.base_from_optical[:3, 3]
        local = (np.atleast_2d(points) - origin) @ rotation
        z = local[:, 2]
        safe = np.where(np.abs(z) < 1e-9, 1e-9, z)
        uv = np.stack(
            [self.fx * local[:, 0] / safe + self.cx, self.fy * local[:, 1] / safe + self.cy], axis=1
        )
        return uv, z

    def lift(self, pixels: Floats, depth: Floats) -> Floats:
        """Pixels [N, 2] with depths [N] (metres along the optical axis) to base points [N, 3]."""
        pixels = np.atleast_2d(pixels).astype(np.float64)
        local = np.stack(
            [
                (pixels[:, 0] - self.cx) / self.fx * depth,
                (pixels[:, 1] - self.cy) / self.fy * depth,
                depth,
            ],
            axis=1,
        )
        return local @ self.base_from_optical[:3, :3].T + self.base_from_optical[:3, 3]

    def grid_from_pixels(self, pixels: Floats) -> Floats:
        """Pixels [N, 2] to the model's 0..255 trace grid (spec: u = x / W * 255), unrounded."""
        return np.atleast_2d(pixels) / np.array([self.width, self.height]) * 255.0
