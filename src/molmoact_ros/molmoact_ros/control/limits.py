"""The safety table as one frozen value, and what is raised when an input breaks it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from molmoact_ros.geometry import Pose


class Refused(ValueError):
    """An input that must not become a motion. The text says what was found and what to change."""


@dataclass(frozen=True)
class Limits:
    """Every number of the safety table; the unit is in the name. Raises ValueError when absurd."""

    step_m: float = 0.02
    step_rad: float = 0.10
    jump_step_m: float = 0.06
    jump_step_rad: float = 0.30
    seam_m: float = 0.03
    seam_rad: float = 0.15
    speed_m_s: float = 0.25
    speed_rad_s: float = 0.8
    acceleration_m_s2: float = 3.0
    acceleration_rad_s2: float = 12.0
    box_min_m: tuple[float, float, float] = (0.25, -0.45, 0.01)
    box_max_m: tuple[float, float, float] = (0.75, 0.45, 0.70)
    tilt_rad: float = 0.6
    quaternion_norm_error: float = 0.01
    observation_age_s: float = 1.0
    held_observation_age_s: float = 15.0
    clock_skew_s: float = 0.1
    command_age_hold_s: float = 0.25
    command_age_stop_s: float = 2.0
    measured_age_s: float = 0.25
    tracking_error_m: float = 0.05
    tracking_error_rad: float = 0.35

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = np.asarray(getattr(self, entry.name), dtype=np.float64)
            if not np.isfinite(value).all():
                raise ValueError(f"limit {entry.name} is {value}; set a finite number")
            if not entry.name.startswith("box_") and value <= 0.0:
                raise ValueError(f"limit {entry.name} is {value}; set a number above zero")
        if not all(low < high for low, high in zip(self.box_min_m, self.box_max_m, strict=True)):
            raise ValueError(
                f"workspace box {self.box_min_m} .. {self.box_max_m} is empty; "
                "every minimum must be below its maximum"
            )

    def widened_to(self, pose: Pose) -> Limits:
        """These limits with box and tilt just wide enough for ``pose``.

        An arm that starts outside must not be thrown inside in one step: from there it may
        only move towards the box.
        """
        low = np.minimum(self.box_min_m, pose.position)
        high = np.maximum(self.box_max_m, pose.position)
        return replace(
            self,
            box_min_m=(float(low[0]), float(low[1]), float(low[2])),
            box_max_m=(float(high[0]), float(high[1]), float(high[2])),
            tilt_rad=max(self.tilt_rad, tilt(pose)),
        )


def tilt(pose: Pose) -> float:
    """Angle in radians between the tool's z axis and straight down, 0..pi."""
    x, y, z, w = pose.quaternion
    # Third column of the rotation matrix of a unit quaternion.
    across = np.hypot(2 * (x * z + w * y), 2 * (y * z - w * x))
    return float(np.arctan2(across, 2 * (x * x + y * y) - 1.0))
