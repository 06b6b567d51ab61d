"""What robot/config.py wants to know about an arm, as node parameters."""

from __future__ import annotations

from collections.abc import Sequence

from molmoact_ros.nodes.runtime import ManagedNode, SetupError
from molmoact_ros.robot.config import FrankyConfig


def declare_arm(node: ManagedNode) -> None:
    declare, arm = node.declare, FrankyConfig()
    declare("host", "172.16.0.2", "address of the robot's control box (or of the simulator)")
    declare("model", arm.model, "fr3 or panda: limits, and what is said when franky is too new")
    declare("realtime", "enforce", "enforce (real-time kernel) or ignore")
    declare("gripper", arm.gripper, "a Franka Hand is mounted")
    declare("stiffness_n_m", arm.stiffness_n_m, "of the impedance controller", (50.0, 4000.0))
    declare("stiffness_nm_rad", arm.stiffness_nm_rad, "of the same, turning", (5.0, 300.0))
    declare("error_clip_m", arm.error_clip_m, "the controller pulls no harder", (0.002, 0.1))
    declare("error_clip_rad", arm.error_clip_rad, "the same, turning", (0.02, 1.0))
    declare("collision_torque_nm", list(arm.collision_torque_nm), "reflex: contact, collision")
    declare("collision_force_n", list(arm.collision_force_n), "reflex: contact, collision")
    declare("joint_margin_rad", arm.joint_margin_rad, "kept from joint limits", (0.02, 0.5))
    declare("margin_dexterity", arm.margin_dexterity, "kept from singularities", (0.0, 0.2))
    declare("home", list(arm.home), "joint angles of ~/home")
    declare("home_speed", arm.home_speed, "fraction of the robot's limits", (0.01, 0.5))
    declare("retreat_m", arm.retreat_m, "how far ~/retreat lifts the tool", (0.01, 0.2))
    declare("recoveries_per_minute", arm.recoveries_per_minute, "automatic ones", (0, 20))


def arm_config_from(node: ManagedNode) -> FrankyConfig:
    """Raises SetupError."""
    value = node.value
    numbers = (
        "stiffness_n_m",
        "stiffness_nm_rad",
        "error_clip_m",
        "error_clip_rad",
        "joint_margin_rad",
        "margin_dexterity",
        "home_speed",
        "retreat_m",
    )
    try:
        return FrankyConfig(
            host=str(value("host")),
            model=str(value("model")),
            realtime=str(value("realtime")),
            gripper=bool(value("gripper")),
            collision_torque_nm=_pair(value("collision_torque_nm"), "collision_torque_nm"),
            collision_force_n=_pair(value("collision_force_n"), "collision_force_n"),
            home=tuple(float(angle) for angle in value("home")),
            recoveries_per_minute=int(value("recoveries_per_minute")),
            **{name: float(value(name)) for name in numbers},
        )
    except ValueError as error:
        raise SetupError(str(error)) from error


def _pair(values: Sequence[float], name: str) -> tuple[float, float]:
    numbers = [float(item) for item in values]
    if len(numbers) != 2:
        raise SetupError(f"{name} has {len(numbers)} numbers, expected lower and upper")
    return numbers[0], numbers[1]
