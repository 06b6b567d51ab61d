"""From deflected axes to a tool's twist: dead zone, curve, speeds, where the person stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from molmoact_ros.geometry import Floats
from molmoact_ros.teleop.hand import BadDevice

VIEWS = {"behind": 0.0, "facing": math.pi, "left": -math.pi / 2, "right": math.pi / 2}
"""Where the person stands, seen from the robot, and the yaw from their axes to the base's."""


@dataclass(frozen=True)
class Shaping:
    """dead_zone: deflection that counts as none. power: 1 is linear, 2 finer near the middle.

    view: one of VIEWS. turn: false keeps the tool's orientation.
    """

    speed_m_s: float = 0.15
    speed_rad_s: float = 0.5
    dead_zone: float = 0.08
    power: float = 1.6
    view: str = "behind"
    turn: bool = True

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise BadDevice(f"view '{self.view}': choose one of {', '.join(VIEWS)}")
        if not (0.0 <= self.dead_zone < 1.0 and 1.0 <= self.power <= 4.0):
            raise BadDevice(f"dead zone {self.dead_zone}, power {self.power}: give 0..1 and 1..4")
        if not (0.0 < self.speed_m_s <= 1.0 and 0.0 < self.speed_rad_s <= 2.0):
            raise BadDevice(
                f"speeds {self.speed_m_s} m/s, {self.speed_rad_s} rad/s: give 0..1 and 0..2"
            )

    def twist(self, axes: Floats) -> Floats:
        """The twist [6] (m/s, rad/s, base frame) for axes [6] in -1..1.

        The dead zone and the curve act on the length of each triple, so a diagonal push stays
        diagonal; the full deflection of any direction gives the full speed.
        """
        moved, turned = self._shaped(axes[:3]), self._shaped(axes[3:])
        yaw = VIEWS[self.view]
        c, s = math.cos(yaw), math.sin(yaw)
        rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        out = np.zeros(6)
        out[:3] = self.speed_m_s * (rotation @ moved)
        if self.turn:
            out[3:] = self.speed_rad_s * (rotation @ turned)
        return out

    def _shaped(self, triple: Floats) -> Floats:
        length = float(np.linalg.norm(triple))
        if length <= self.dead_zone:
            return np.zeros(3)
        beyond = min(1.0, (length - self.dead_zone) / (1.0 - self.dead_zone))
        return np.asarray(triple / length * beyond**self.power, dtype=np.float64)
