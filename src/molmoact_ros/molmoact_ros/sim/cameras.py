"""The two cameras of the simulated set-up: where they hang and what they measure.

Intrinsics follow the data sheets of the cameras they stand for (Intel RealSense D400
family data sheet): a D435 colour stream at 640x480 has fy of about 615 px, so 42.6 degrees
of vertical view; a D405 has 58 degrees. Frames: the base frame is fr3_link0, the hand frame
fr3_hand (z towards the finger tips, y along the finger motion); an optical frame has z
forward, x right, y down (REP-103). Pixel centres lie on whole numbers, as in
sensor_msgs/CameraInfo, so the principal point is (W - 1) / 2, (H - 1) / 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from molmoact_ros.geometry import Camera, Floats

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class CameraSetup:
    """A camera's mount and view.

    position, target, up: metres in the mount's frame; the camera looks from ``position``
    at ``target``. mount: "base" or "hand". fovy: vertical view in degrees.
    """

    name: str
    frame_id: str
    mount: str
    position: Vector
    target: Vector
    up: Vector
    fovy: float

    @property
    def mount_from_optical(self) -> Floats:
        """Pose [4, 4] of the optical frame in the mount's frame (base or hand)."""
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right = right / np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = right, np.cross(forward, right), forward
        matrix[:3, 3] = self.position
        return matrix

    def camera(self, width: int, height: int, base_from_hand: Floats | None = None) -> Camera:
        """The pinhole model at an image size in pixels.

        ``base_from_hand`` [4, 4] is needed for a camera on the hand. Raises ValueError
        without it, or for a size below 8 px.
        """
        if min(width, height) < 8:
            raise ValueError(
                f"Image size {width}x{height} is too small; use at least 8x8, e.g. 320x240."
            )
        pose = self.mount_from_optical
        if self.mount == "hand":
            if base_from_hand is None:
                raise ValueError(
                    f"Camera '{self.name}' hangs on the hand; pass base_from_hand, "
                    "the pose of fr3_hand in the base frame."
                )
            pose = base_from_hand @ pose
        focal = 0.5 * height / math.tan(math.radians(self.fovy) / 2)
        return Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, pose)


EXTERNAL = CameraSetup(
    name="external",
    frame_id="external_color_optical_frame",
    mount="base",
    position=(1.24, 0.46, 0.76),
    target=(0.42, 0.0, 0.14),
    up=(0.0, 0.0, 1.0),
    fovy=42.6,
)

WRIST = CameraSetup(
    name="wrist",
    frame_id="wrist_color_optical_frame",
    mount="hand",
    position=(0.075, 0.0, 0.035),
    target=(0.012, 0.0, 0.135),
    up=(1.0, 0.0, 0.0),
    fovy=58.0,
)


def jittered(setup: CameraSetup, rng: np.random.Generator, amount: float) -> CameraSetup:
    """The same camera hung a little differently.

    ``amount`` scales uniform errors: 1.0 moves position and target by up to 4 cm and the
    view by up to 1.5 degrees (a tenth of the way for a hand camera, whose bracket is rigid).
    """
    reach = 0.04 * amount * (0.1 if setup.mount == "hand" else 1.0)
    moved = np.add(setup.position, rng.uniform(-reach, reach, 3))
    target = np.add(setup.target, rng.uniform(-reach, reach, 3))
    fovy = setup.fovy + float(rng.uniform(-1.5, 1.5)) * amount
    return replace(setup, position=_vector(moved), target=_vector(target), fovy=fovy)


def mujoco_quaternion(setup: CameraSetup) -> Floats:
    """Camera orientation in the mount frame as MuJoCo wants it: w x y z, view along -z."""
    from scipy.spatial.transform import Rotation

    optical = setup.mount_from_optical[:3, :3] @ np.diag([1.0, -1.0, -1.0])
    return np.asarray(np.roll(Rotation.from_matrix(optical).as_quat(), 1))


def _vector(values: Floats) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
