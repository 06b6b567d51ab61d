"""How to speak to the arm, how stiff it is and what it must not do: one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.control.margins import Margins
from molmoact_ros.robot.models import MODELS, RobotModel

HOME = (0.0, -0.5, 0.0, -2.3, 0.0, 1.85, 0.785)
REALTIME = ("enforce", "ignore")


@dataclass(frozen=True)
class FrankyConfig:
    """Units are in the names. Raises ValueError with the remedy for what cannot be right.

    realtime: "enforce" wants a real-time kernel, as libfranka recommends; "ignore" runs without.
    collision_*: lower and upper threshold of the robot's reflex.
    home_speed, retreat_speed: fraction of the robot's limits. retreat_m: straight up.
    margin_dexterity: smallest singular value of the Jacobian that references may lead to.
    """

    host: str = "127.0.0.1"
    model: str = "fr3"
    realtime: str = "ignore"
    stiffness_n_m: float = 1500.0
    stiffness_nm_rad: float = 80.0
    error_clip_m: float = 0.03
    error_clip_rad: float = 0.3
    torque_rate_nm: float = 0.5
    posture_stiffness: float = 10.0
    joint_margin_rad: float = 0.1
    margin_dexterity: float = 0.05
    collision_torque_nm: tuple[float, float] = (20.0, 40.0)
    collision_force_n: tuple[float, float] = (20.0, 40.0)
    home_speed: float = 0.1
    home: tuple[float, ...] = HOME
    retreat_speed: float = 0.05
    retreat_m: float = 0.05
    gripper: bool = True
    recoveries_per_minute: int = 3

    def __post_init__(self) -> None:
        if self.realtime not in REALTIME:
            raise ValueError(f"realtime {self.realtime!r}: choose one of {', '.join(REALTIME)}")
        if self.model not in MODELS:
            raise ValueError(f"model {self.model!r}: choose one of {', '.join(MODELS)}")
        for name in (
            "stiffness_n_m",
            "stiffness_nm_rad",
            "error_clip_m",
            "error_clip_rad",
            "torque_rate_nm",
            "home_speed",
            "retreat_speed",
            "retreat_m",
        ):
            if not 0.0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; set a number above zero")
        for name in ("collision_torque_nm", "collision_force_n"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high < np.inf:
                raise ValueError(f"{name} is {low} .. {high}; set lower <= upper, both above zero")
        joints = np.asarray(self.home, dtype=np.float64)
        # Written so that NaN fails, too.
        if joints.shape != (7,) or not (self.margins.trespass(joints) <= 0.0).all():
            raise ValueError(
                f"home {self.home}: give seven angles within the {self.model}'s joint limits and "
                f"{self.joint_margin_rad} rad away from them"
            )

    @property
    def robot(self) -> RobotModel:
        return MODELS[self.model]

    @property
    def margins(self) -> Margins:
        """Raises ValueError when the margins leave no room."""
        robot = self.robot
        return Margins(
            robot.joint_min, robot.joint_max, self.joint_margin_rad, self.margin_dexterity
        )
