"""From rows of deltas to a continuous path of poses in the base frame.

Deltas accumulate onto the COMMANDED pose: accumulating onto the measured one would turn every
millimetre of tracking lag into a shorter motion. After a hold, a fault or a recovery the path is
anchored again at the pose it then has.
"""

from __future__ import annotations

import numpy as np

from molmoact_ros.control.guards import Limits, clamp_to_workspace, twist_between
from molmoact_ros.geometry import Floats, Pose, interpolate


class Integrator:
    """The path of the running row; times are seconds of the caller's clock."""

    def __init__(self, anchor: Pose, limits: Limits, period_s: float) -> None:
        self._limits = limits
        self._period_s = period_s
        self.anchor(anchor)

    def anchor(self, pose: Pose) -> None:
        """Forget the running row; the next delta starts at ``pose``."""
        self._from = self._to = pose
        self._start = -np.inf

    @property
    def target(self) -> Pose:
        """Where the running row ends."""
        return self._to

    def room(self, now: float, rows: Floats) -> tuple[float, float]:
        """Metres and radians left of the running row and of ``rows`` [N, 7] after it."""
        left = twist_between(self.at(now)[0], self._to, 1.0)
        return (
            float(np.linalg.norm(left[:3]) + np.linalg.norm(rows[:, :3], axis=1).sum()),
            float(np.linalg.norm(left[3:]) + np.linalg.norm(rows[:, 3:6], axis=1).sum()),
        )

    def begin_row(self, delta: Floats, start: float) -> str:
        """Start moving by ``delta`` [6] at time ``start``; returns the workspace limit felt.

        The new end is kept inside the workspace here, so that a policy pushing against a wall
        does not wind up a long way that must be undone before the arm comes back.
        """
        self._from = self._to
        wanted = self._from.moved(delta)
        self._to, felt = clamp_to_workspace(wanted, self._limits.widened_to(self._from))
        self._start = start
        return felt

    def at(self, now: float) -> tuple[Pose, Floats]:
        """Pose and twist [6] of the path at ``now``; at rest once the row is over."""
        fraction = (now - self._start) / self._period_s
        if fraction >= 1.0:
            return self._to, np.zeros(6)
        twist = twist_between(self._from, self._to, self._period_s)
        return interpolate(self._from, self._to, max(fraction, 0.0)), twist
