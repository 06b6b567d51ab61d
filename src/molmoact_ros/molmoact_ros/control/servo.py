"""For controllers that follow velocities (MoveIt Servo) instead of poses."""

from __future__ import annotations

import numpy as np

from molmoact_ros.control.command import Command
from molmoact_ros.control.guards import fit_twist, twist_between
from molmoact_ros.control.limits import Limits
from molmoact_ros.geometry import Floats, Pose

GAIN_PER_S = 2.0
"""Position error to correcting speed: a velocity controller's small errors add up to a drift."""


def servo_twist(command: Command, measured: Pose | None, limits: Limits) -> Floats:
    """The twist [6] (m/s, rad/s, base frame) that keeps the arm on the commanded path.

    Zero without a commanded or measured pose, and while the arm cannot follow.
    """
    if command.pose is None or measured is None or command.blocked:
        return np.zeros(6)
    wanted = command.twist + GAIN_PER_S * twist_between(measured, command.pose, 1.0)
    return fit_twist(wanted, limits.speed_m_s, limits.speed_rad_s)[0]
