"""From references that arrive now and then to one every 10 ms, and the driver's last guards.

These guards trust nobody, the commander included: a pose that is not finite, outside the box or
far from where the arm is, does not reach the controller.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.control.guards import (
    check_pose,
    check_twist,
    fit_twist,
    limit_speed,
    twist_between,
)
from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.geometry import Floats, Pose, interpolate

BOX_MARGIN_M = 0.01
JUMP_M = 0.08
JUMP_RAD = 0.6
REFUSAL_S = 0.5
_PERIOD_S = (0.01, 0.1)
_TWIST_SMOOTHING = 0.3


def check_reference(
    position: ArrayLike, quaternion: ArrayLike, measured: Pose, limits: Limits
) -> Pose:
    """A reference fit for the controller of an arm now at ``measured``, or Refused.

    Outside the box only poses are allowed that are no further out than the arm itself.
    """
    pose = check_pose(position, quaternion, limits)
    out = _outside(pose.position, limits)
    if out > max(_outside(measured.position, limits), 0.0) + BOX_MARGIN_M:
        raise Refused(
            f"the reference {np.round(pose.position, 3).tolist()} is {out:.3f} m outside the "
            f"workspace box {limits.box_min_m} .. {limits.box_max_m}; move the target inside"
        )
    far = float(np.linalg.norm(pose.position - measured.position))
    turned = measured.angle_to(pose)
    if far > JUMP_M or turned > JUMP_RAD:
        raise Refused(
            f"the reference jumps {far:.3f} m / {turned:.2f} rad away from the arm, allowed are "
            f"{JUMP_M} m / {JUMP_RAD} rad; start it at the measured pose"
        )
    return pose


def _outside(position: Floats, limits: Limits) -> float:
    inside = np.clip(position, limits.box_min_m, limits.box_max_m)
    return float(np.linalg.norm(position - inside))


class ReferenceTrack:
    """Interpolates between references; one thread puts, another one takes.

    Times are seconds of the caller's monotonic clock. The delay is one period of the stream,
    which is measured as it comes (15 Hz from a policy, 50..100 Hz from the commander).
    """

    def __init__(self, limits: Limits, hold_after_s: float | None = None) -> None:
        self._limits = limits
        self._hold_after_s = hold_after_s or limits.command_age_hold_s
        self._lock = threading.Lock()
        self._pose: Pose | None = None
        self._twist: Floats = np.zeros(6)
        self._given: Floats | None = None
        self._refusal = ("", -np.inf)

    def reset(self, pose: Pose, now: float) -> None:
        """Start again at rest at ``pose``; older references are forgotten."""
        with self._lock:
            self._pose = self._from = self._to = pose
            self._twist, self._given = np.zeros(6), None
            self._refusal = ("", -np.inf)
            self._put_at = self._took_at = self._fresh_at = now
            self._period = _PERIOD_S[1]

    def put(self, pose: Pose, twist: ArrayLike | None, now: float) -> None:
        """A new checked reference. Raises Refused for a twist that is not six finite numbers."""
        given = None if twist is None else check_twist(twist)
        with self._lock:
            if self._pose is None:
                return
            gap = min(max(now - self._put_at, _PERIOD_S[0]), _PERIOD_S[1])
            self._period += 0.2 * (gap - self._period)
            self._from, self._to, self._given = self._pose, pose, given
            self._put_at = self._fresh_at = now
            self._refusal = ("", -np.inf)

    def refuse(self, reason: str, now: float) -> None:
        """Remember why the newest reference is not followed."""
        with self._lock:
            self._refusal = reason, now

    def refusal(self, now: float, within_s: float = REFUSAL_S) -> str:
        """Why the newest reference is not followed; "" when it is, or when that was long ago."""
        reason, at = self._refusal
        return reason if now - at <= within_s else ""

    @property
    def target(self) -> Pose | None:
        """The last accepted reference; None before ``reset``."""
        with self._lock:
            return None if self._pose is None else self._to

    def age(self, now: float) -> float:
        """Seconds since the last reference, or since ``reset``."""
        with self._lock:
            return np.inf if self._pose is None else now - self._fresh_at

    def take(self, now: float) -> tuple[Pose, Floats]:
        """Pose and twist [6] for this moment; at rest once the stream is too old."""
        with self._lock:
            if self._pose is None:
                raise RuntimeError("take() before reset(); call reset with the measured pose first")
            dt, self._took_at = now - self._took_at, now
            if dt <= 0.0:
                return self._pose, self._twist
            if now - self._fresh_at > self._hold_after_s:
                self._twist = np.zeros(6)
                return self._pose, self._twist
            # A reference put while this tick was on its way lies in this tick's future.
            fraction = min(max((now - self._put_at) / self._period, 0.0), 1.0)
            wanted = interpolate(self._from, self._to, fraction)
            pose, _ = limit_speed(self._pose, wanted, dt, self._limits)
            moved = twist_between(self._pose, pose, dt) if self._given is None else self._given
            moved, _ = fit_twist(moved, self._limits.speed_m_s, self._limits.speed_rad_s)
            smoothing = _TWIST_SMOOTHING if self._given is None else 1.0
            self._twist = self._twist + smoothing * (moved - self._twist)
            self._pose = pose
            return pose, self._twist
