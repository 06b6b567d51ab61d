"""What differs between an FR3 and a Panda: limits, and which franky speaks to which.

Both share the geometry (control/kinematics.py) and the hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Limit = float | tuple[float, ...]


@dataclass(frozen=True)
class RobotModel:
    """Joint limits [7] in rad; motion limits by franky's names in m, rad, s; words for a person
    whose franky does not speak to this robot."""

    name: str
    joint_min: tuple[float, ...]
    joint_max: tuple[float, ...]
    motion_limits: Mapping[str, Limit]
    wheel_hint: str


FR3 = RobotModel(
    name="fr3",
    # Franka Research 3 datasheet, joint space limits.
    joint_min=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    joint_max=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    # libfranka include/franka/rate_limiting.h, FR3 values; joint velocities: datasheet.
    motion_limits={
        "translation_velocity_limit": 3.0,
        "translation_acceleration_limit": 9.0,
        "translation_jerk_limit": 4500.0,
        "rotation_velocity_limit": 2.5,
        "rotation_acceleration_limit": 17.0,
        "rotation_jerk_limit": 8500.0,
        "elbow_velocity_limit": 1.5,
        "elbow_acceleration_limit": 10.0,
        "elbow_jerk_limit": 5000.0,
        "joint_velocity_limit": (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
        "joint_acceleration_limit": (10.0,) * 7,
        "joint_jerk_limit": (5000.0,) * 7,
    },
    wheel_hint="franky-control 2.0.0 of PyPI speaks to an FR3 with system image 5.9 or newer; "
    "update the robot in Desk, or install an older franky-control (1.0.0 for server version 9)",
)

PANDA = RobotModel(
    name="panda",
    # Franka Control Interface documentation, "Limits for Panda".
    joint_min=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    joint_max=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    motion_limits={
        "translation_velocity_limit": 1.7,
        "translation_acceleration_limit": 13.0,
        "translation_jerk_limit": 6500.0,
        "rotation_velocity_limit": 2.5,
        "rotation_acceleration_limit": 25.0,
        "rotation_jerk_limit": 12500.0,
        "elbow_velocity_limit": 2.175,
        "elbow_acceleration_limit": 10.0,
        "elbow_jerk_limit": 5000.0,
        "joint_velocity_limit": (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
        "joint_acceleration_limit": (15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        "joint_jerk_limit": (7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    },
    wheel_hint="no franky of PyPI speaks to a Panda; install the wheel of franky's own index, "
    "pip install franky-control --extra-index-url "
    "https://timschneider42.github.io/franky/whl/by-robot-server-version/5/ (franky, "
    "doc/getting-started/installation.md)",
)

MODELS: dict[str, RobotModel] = {model.name: model for model in (FR3, PANDA)}
