"""The guards: what may never leave this process, as pure functions over plain numbers.

Every function either returns something inside the limits or raises ``Refused``; none of them
keeps state. The defaults are the project's safety table (docs/architecture.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.control.limits import Limits, Refused, tilt
from molmoact_ros.geometry import (
    Floats,
    Pose,
    conjugate,
    multiply,
    quaternion_from_rotvec,
    rotation_matrix,
    rotvec_from_quaternion,
)

__all__ = [
    "Limits",
    "Refused",
    "check_chunk",
    "check_observation_age",
    "check_pose",
    "check_twist",
    "clamp_to_workspace",
    "fit_twist",
    "limit_speed",
    "moved_by",
    "tilt",
    "twist_between",
]

STRAIGHT_DOWN = np.array([0.0, 0.0, -1.0])
CHUNK_COLUMNS = 7
MAX_ROWS = 64


def check_chunk(rows: ArrayLike, limits: Limits, period_s: float) -> tuple[Floats, str]:
    """A chunk [N, 7] (dx dy dz droll dpitch dyaw gripper, base frame) fit for execution.

    A row longer than the step limit, or faster than the speed limit within ``period_s``, is
    shortened by one factor in all six axes, so that its direction stays the policy's. Returns
    the rows and a sentence naming the limit ("" when nothing was shortened). Raises Refused for
    a wrong shape, a number that is not finite, a gripper far outside 0..1, or a row so long
    that shortening it would hide a broken policy.
    """
    try:
        chunk = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Refused(f"the chunk is not a table of numbers ({error}); send N rows of 7") from error
    if chunk.ndim != 2 or chunk.shape[1] != CHUNK_COLUMNS or not 1 <= len(chunk) <= MAX_ROWS:
        raise Refused(
            f"the chunk has shape {chunk.shape}, expected [1..{MAX_ROWS}, {CHUNK_COLUMNS}]; "
            "check the policy's action columns"
        )
    if not np.isfinite(chunk).all():
        bad = int(np.argwhere(~np.isfinite(chunk))[0][0])
        raise Refused(f"row {bad} of the chunk is not finite; check the policy's statistics file")
    gripper = chunk[:, 6]
    if gripper.min() < -0.5 or gripper.max() > 1.5:
        raise Refused(
            f"gripper values {gripper.min():.2f} .. {gripper.max():.2f}, expected 0 (closed) .. "
            "1 (open); check the policy's statistics file"
        )
    chunk[:, 6] = np.clip(gripper, 0.0, 1.0)
    bounded = np.clip(chunk[:, :6], -1e3, 1e3)  # squares of absurd numbers overflow
    lengths = np.linalg.norm(bounded[:, :3], axis=1)
    turns = np.linalg.norm(bounded[:, 3:6], axis=1)
    if lengths.max() > limits.jump_step_m or turns.max() > limits.jump_step_rad:
        raise Refused(
            f"a row of the chunk moves {lengths.max():.3f} m / {turns.max():.2f} rad at once, "
            f"allowed are {limits.jump_step_m:g} m / {limits.jump_step_rad:g} rad; "
            "the policy's units or statistics are probably wrong"
        )
    allowed_m = min(limits.step_m, limits.speed_m_s * period_s)
    allowed_rad = min(limits.step_rad, limits.speed_rad_s * period_s)
    excess = np.maximum(np.maximum(lengths / allowed_m, turns / allowed_rad), 1.0)
    chunk[:, :6] /= excess[:, None]
    if excess.max() <= 1.0 + 1e-9:
        return chunk, ""
    return chunk, f"step limit: rows shortened by up to a factor of {excess.max():.2f}"


def check_pose(position: ArrayLike, quaternion: ArrayLike, limits: Limits) -> Pose:
    """A pose from outside numbers: position [3] metres, quaternion [4] (x, y, z, w).

    Raises Refused when a number is not finite or the quaternion's norm is off by more than
    ``limits.quaternion_norm_error``; smaller errors are normalised away.
    """
    p = np.array(position, dtype=np.float64)
    q = np.array(quaternion, dtype=np.float64)
    if p.shape != (3,) or q.shape != (4,):
        raise Refused(f"a pose needs 3 + 4 numbers, found {p.shape} + {q.shape}")
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise Refused(f"the pose {p} {q} is not finite; check its sender")
    norm = float(np.linalg.norm(q))
    if abs(norm - 1.0) > limits.quaternion_norm_error:
        raise Refused(f"the quaternion {q} has norm {norm:.3f}, expected 1; normalise it (x,y,z,w)")
    return Pose(p, q / norm)


def check_twist(twist: ArrayLike) -> Floats:
    """A twist [6] (m/s, rad/s, base frame) of finite numbers, or Refused."""
    v = np.array(twist, dtype=np.float64)
    if v.shape != (6,) or not np.isfinite(v).all():
        raise Refused(f"the twist {v} is not six finite numbers; check the teleoperation device")
    return v


def check_observation_age(
    stamp: float, now: float, limits: Limits, moved_s: float | None = None
) -> float:
    """Seconds since the observation. Raises Refused when too old or from the future.

    moved_s: seconds of motion since the observation. An arm that held still while a slow policy
    thought is where the image shows it, so then only ``held_observation_age_s`` counts; that
    the image was fresh when the thought began is the policy node's guard.
    """
    held = moved_s is not None and moved_s <= 0.0
    allowed = limits.held_observation_age_s if held else limits.observation_age_s
    age = now - stamp
    if not np.isfinite(age) or age < -limits.clock_skew_s:
        raise Refused(
            f"the observation is {-age:.2f} s in the future; synchronise the clocks of the "
            "camera and this computer (chrony), and use one time source for all nodes"
        )
    if age > allowed:
        raise Refused(
            f"the thought is about an image {age:.2f} s old, allowed are "
            f"{allowed:g} s; check the camera, or use a faster policy"
        )
    return max(age, 0.0)


def clamp_to_workspace(pose: Pose, limits: Limits) -> tuple[Pose, str]:
    """The nearest pose inside box and tilt cone, and which of them was touched ("" if none)."""
    touched = []
    position = np.clip(pose.position, limits.box_min_m, limits.box_max_m)
    if np.abs(position - pose.position).max() > 1e-9:
        touched.append("at the edge of the workspace box")
    angle = tilt(pose)
    quaternion = pose.quaternion
    if angle > limits.tilt_rad + 1e-6:
        touched.append("at the tilt limit")
        matrix = rotation_matrix(pose.quaternion)
        axis = np.cross(matrix[:, 2], STRAIGHT_DOWN)
        length = float(np.linalg.norm(axis))
        # A tool pointing straight up can come down about any horizontal axis: take its own x.
        axis = axis / length if length > 1e-6 else matrix[:, 0]
        back = quaternion_from_rotvec(axis * (angle - limits.tilt_rad))
        quaternion = multiply(back, pose.quaternion)
    return Pose(position, quaternion), "; ".join(touched)


def fit_twist(twist: Floats, speed_m_s: float, speed_rad_s: float) -> tuple[Floats, bool]:
    """A twist [6] scaled by one factor below both speeds, and whether that was needed."""
    linear, angular = np.linalg.norm(twist[:3]), np.linalg.norm(twist[3:])
    excess = max(float(linear) / speed_m_s, float(angular) / speed_rad_s, 1.0)
    return twist / excess, excess > 1.0 + 1e-9


def twist_between(a: Pose, b: Pose, dt: float) -> Floats:
    """The constant twist [6] (m/s, rad/s, base frame) that moves ``a`` onto ``b`` in ``dt`` s."""
    out = np.zeros(6)
    out[:3] = b.position - a.position
    if not np.array_equal(a.quaternion, b.quaternion):
        out[3:] = rotvec_from_quaternion(multiply(b.quaternion, conjugate(a.quaternion)))
    return out / dt


def moved_by(pose: Pose, twist: Floats, dt: float) -> Pose:
    """``pose`` after ``dt`` seconds of a twist [6] in the base frame.

    The quaternion keeps its sign half, so that a stream of poses never flips from q to -q.
    """
    if not twist[3:].any():
        return Pose(pose.position + twist[:3] * dt, pose.quaternion)
    quaternion = multiply(quaternion_from_rotvec(twist[3:] * dt), pose.quaternion)
    if float(quaternion @ pose.quaternion) < 0.0:
        quaternion = -quaternion
    return Pose(pose.position + twist[:3] * dt, quaternion)


def limit_speed(previous: Pose, wanted: Pose, dt: float, limits: Limits) -> tuple[Pose, bool]:
    """``wanted``, or as far towards it as the speed limits allow within ``dt`` seconds."""
    if dt < 1e-6:
        return previous, True
    twist, limited = fit_twist(
        twist_between(previous, wanted, dt), limits.speed_m_s, limits.speed_rad_s
    )
    return moved_by(previous, twist, dt), limited
