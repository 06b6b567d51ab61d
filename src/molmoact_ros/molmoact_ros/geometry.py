"""Poses, rotations and pinhole cameras: the numbers every other module shares.

Frames follow REP-103/105. Lengths are metres, angles radians, quaternions are
(x, y, z, w). A rotation delta (droll, dpitch, dyaw) is extrinsic xyz about the
BASE axes: R_new = Rz(dyaw) Ry(dpitch) Rx(droll) R_old. This is the card field
``delta_frame: base, euler: xyz-extrinsic``.

Quaternions are multiplied here in plain floats: scipy's Rotation costs 20 to 100
microseconds a call, and the control path makes some thousand of them a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

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
        out[:3, :3] = rotation_matrix(self.quaternion)
        out[:3, 3] = self.position
        return out

    @property
    def rotation(self) -> Rotation:
        return Rotation.from_quat(self.quaternion)

    @property
    def yaw(self) -> float:
        """Rotation about the base z axis of the tool's x axis, radians."""
        x, y, z, w = map(float, self.quaternion)
        return math.atan2(2.0 * (x * y + z * w), w * w + x * x - y * y - z * z)

    def moved(self, delta: Floats) -> Pose:
        """This pose after a delta [6] (dx dy dz droll dpitch dyaw) in the base frame."""
        turn = quaternion_from_rpy(float(delta[3]), float(delta[4]), float(delta[5]))
        return Pose(self.position + delta[:3], multiply(turn, self.quaternion))

    def delta_to(self, other: Pose) -> Floats:
        """The delta [6] in the base frame that moves this pose onto ``other``."""
        turn = multiply(other.quaternion, conjugate(self.quaternion))
        return np.concatenate([other.position - self.position, rpy_from_quaternion(turn)])

    def angle_to(self, other: Pose) -> float:
        """Angle of the rotation from this pose to ``other``, radians in [0, pi]."""
        x, y, z, w = map(float, multiply(other.quaternion, conjugate(self.quaternion)))
        return 2.0 * math.atan2(math.sqrt(x * x + y * y + z * z), abs(w))


def multiply(a: Floats, b: Floats) -> Floats:
    """Quaternion product: first rotate by ``b``, then by ``a``; normalised."""
    ax, ay, az, aw = map(float, a)
    bx, by, bz, bw = map(float, b)
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    w = aw * bw - ax * bx - ay * by - az * bz
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    return np.array([x / norm, y / norm, z / norm, w / norm])


def conjugate(quaternion: Floats) -> Floats:
    """The inverse rotation of a unit quaternion."""
    x, y, z, w = quaternion
    return np.array([-x, -y, -z, w])


def quaternion_from_rpy(roll: float, pitch: float, yaw: float) -> Floats:
    """Extrinsic xyz: roll about base x, then pitch about base y, then yaw about base z."""
    cr, sr = math.cos(roll / 2), math.sin(roll / 2)
    cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
    cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
    return np.array(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


def rpy_from_quaternion(quaternion: Floats) -> Floats:
    """Extrinsic xyz angles [3] of a unit quaternion; pitch in [-pi/2, pi/2]."""
    x, y, z, w = map(float, quaternion)
    sine = max(-1.0, min(1.0, 2.0 * (w * y - z * x)))
    return np.array(
        [
            math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
            math.asin(sine),
            math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
        ]
    )


def quaternion_from_rotvec(vector: Floats) -> Floats:
    """Of a rotation vector [3] (axis times angle, radians)."""
    x, y, z = map(float, vector)
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return np.array([x / 2, y / 2, z / 2, 1.0])
    scale = math.sin(angle / 2) / angle
    return np.array([x * scale, y * scale, z * scale, math.cos(angle / 2)])


def rotvec_from_quaternion(quaternion: Floats) -> Floats:
    """Rotation vector [3] of a unit quaternion, length in [0, pi]."""
    x, y, z, w = map(float, quaternion)
    sine = math.sqrt(x * x + y * y + z * z)
    if sine < 1e-12:
        return np.array([2 * x, 2 * y, 2 * z])
    scale = 2.0 * math.atan2(sine, abs(w)) / sine * (1.0 if w >= 0.0 else -1.0)
    return np.array([x * scale, y * scale, z * scale])


def rotation_matrix(quaternion: Floats) -> Floats:
    """Rotation matrix [3, 3] of a unit quaternion."""
    x, y, z, w = map(float, quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def interpolate(a: Pose, b: Pose, fraction: float) -> Pose:
    """Linear in position, slerp (the short way) in rotation. Raises ValueError outside [0, 1]."""
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction {fraction} lies outside 0..1")
    position = a.position + fraction * (b.position - a.position)
    cosine = float(a.quaternion @ b.quaternion)
    target = b.quaternion if cosine >= 0.0 else -b.quaternion
    angle = math.acos(min(1.0, abs(cosine)))
    if angle < 1e-6:
        mixed = a.quaternion + fraction * (target - a.quaternion)
    else:
        scale = math.sin(angle)
        mixed = (
            math.sin((1.0 - fraction) * angle) / scale * a.quaternion
            + math.sin(fraction * angle) / scale * target
        )
    return Pose(position, mixed / math.sqrt(float(mixed @ mixed)))


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
