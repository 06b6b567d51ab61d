"""What the commander knows of the arm: where it was measured, how old that is, whether it follows.

Times are seconds of the caller's clock.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from molmoact_ros.control.command import NOT_FOLLOWED
from molmoact_ros.control.guards import check_pose
from molmoact_ros.control.limits import Limits
from molmoact_ros.geometry import Pose


class ArmView:
    """Fed by the arm's state messages, read once a tick."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.pose: Pose | None = None
        self.ready, self.detail = True, ""
        self.partner = ""
        self.tracking = (0.0, 0.0)
        self._stamp = self._arrival = -math.inf

    def measure(
        self,
        position: ArrayLike,
        quaternion: ArrayLike,
        stamp: float,
        arrival: float | None,
        commanded: Pose | None,
    ) -> None:
        """fr3_hand_tcp in the base frame at ``stamp``, here at ``arrival``. Raises Refused.

        Compared with what is ``commanded`` on arrival: against a later command an old pose would
        look like an error.
        """
        self.pose = check_pose(position, quaternion, self._limits)
        self._stamp, self._arrival = stamp, stamp if arrival is None else arrival
        self.tracking = (0.0, 0.0) if commanded is None else _apart(commanded, self.pose)

    @property
    def refusing(self) -> bool:
        """Whether the arm is ready but refuses where it is sent."""
        return self.ready and self.detail.startswith(NOT_FOLLOWED)

    def age(self, now: float) -> float | None:
        """Seconds since the measurement, by stamp or by arrival, whichever is longer.

        Negative: its stamp lies in the future. None: nothing was measured yet.
        """
        if self.pose is None:
            return None
        by_stamp = now - self._stamp
        return by_stamp if by_stamp < 0.0 else max(by_stamp, now - self._arrival)

    def fresh(self, now: float) -> bool:
        age = self.age(now)
        return age is not None and -self._limits.clock_skew_s <= age <= self._limits.measured_age_s


def _apart(a: Pose, b: Pose) -> tuple[float, float]:
    cosine = min(1.0, abs(float(a.quaternion @ b.quaternion)))
    x, y, z = map(float, a.position - b.position)
    return math.sqrt(x * x + y * y + z * z), 2.0 * math.acos(cosine)
