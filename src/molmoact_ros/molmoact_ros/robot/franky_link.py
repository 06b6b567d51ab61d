"""Everything that is said to franky in one place: connection, limits, motions, readings.

No state and no threads. Facts about franky 2.0.0 that shaped this file were measured: the wheel
believes it drives a Panda, its impedance tracker has no watchdog, its errors arrive late.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import franky
import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.robot.base import ArmState

logger = logging.getLogger(__name__)

ERRORS: tuple[type[BaseException], ...] = (
    franky.Exception,
    franky.GripperException,
    franky.InvalidMotionTypeException,
    franky.MotionReuseException,
    franky.ModelException,
    RuntimeError,
)
"""What franky's calls raise; RuntimeError is what its binding makes of C++ errors."""

HOME = (0.0, -0.5, 0.0, -2.3, 0.0, 1.85, 0.785)
JOINT_MIN = np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
JOINT_MAX = np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
"""FR3 joint limits in rad (Franka Research 3 datasheet, joint space limits)."""

FR3_LIMITS: dict[str, float | tuple[float, ...]] = {
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
}
"""m, rad, s. libfranka include/franka/rate_limiting.h, FR3 values."""

FLANGE_FROM_TCP = np.array(
    [
        [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0],
        [-np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.1034],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""fr3_hand_tcp in fr3_link8 (franka_description, end_effectors/franka_hand)."""


@dataclass(frozen=True)
class FrankyConfig:
    """How to speak to the arm and how stiff it is; units are in the names."""

    host: str = "127.0.0.1"
    realtime: str = "ignore"
    stiffness_n_m: float = 1500.0
    stiffness_nm_rad: float = 80.0
    error_clip_m: float = 0.03
    error_clip_rad: float = 0.3
    torque_rate_nm: float = 0.5
    posture_stiffness: float = 10.0
    joint_margin_rad: float = 0.1
    collision_torque_nm: tuple[float, float] = (20.0, 40.0)
    collision_force_n: tuple[float, float] = (20.0, 40.0)
    home_speed: float = 0.1
    home: tuple[float, ...] = HOME

    def __post_init__(self) -> None:
        if self.realtime not in ("ignore", "enforce"):
            raise ValueError(f"realtime {self.realtime!r}: choose 'ignore' or 'enforce'")
        joints = np.asarray(self.home, dtype=np.float64)
        if joints.shape != (7,) or (joints < JOINT_MIN).any() or (joints > JOINT_MAX).any():
            raise ValueError(f"home {self.home}: give seven angles within the FR3's joint limits")


def connect(config: FrankyConfig) -> Any:
    """A franky.Robot with every limit set explicitly. Raises one of ERRORS."""
    realtime = (
        franky.RealtimeConfig.Ignore
        if config.realtime == "ignore"
        else franky.RealtimeConfig.Enforce
    )
    robot = franky.Robot(config.host, realtime_config=realtime)
    robot.relative_dynamics_factor = config.home_speed
    for name, wanted in FR3_LIMITS.items():
        limit = getattr(robot, name)
        # The wheel refuses more than its own (Panda) maximum; both have to be kept.
        value = np.minimum(np.asarray(wanted, dtype=np.float64), limit.max)
        limit.set(float(value) if value.ndim == 0 else value)
    (low_tau, high_tau), (low_f, high_f) = config.collision_torque_nm, config.collision_force_n
    robot.set_collision_behavior([low_tau] * 7, [high_tau] * 7, [low_f] * 6, [high_f] * 6)
    return robot


def gripper(config: FrankyConfig) -> Any:
    """A franky.Gripper. Raises one of ERRORS."""
    return franky.Gripper(config.host)


def is_network(error: BaseException) -> bool:
    """Whether franky's object is dead after this error and only a new one connects again."""
    return isinstance(error, franky.NetworkException) or "Net Exception" in str(error)


def tracking_motion(robot: Any, start: Pose, tool: Tool, config: FrankyConfig) -> Any:
    """A fresh impedance tracker resting at ``start``; motions of franky run only once."""
    motion = franky.CartesianImpedanceTrackingMotion(
        translational_stiffness=config.stiffness_n_m,
        rotational_stiffness=config.stiffness_nm_rad,
        translational_error_clip=np.full(3, config.error_clip_m),
        rotational_error_clip=np.full(3, config.error_clip_rad),
        posture_task=franky.PostureTask(
            np.array(robot.state.q, dtype=np.float64), stiffness=config.posture_stiffness
        ),
        max_delta_tau=config.torque_rate_nm,
        lower_joint_limits=JOINT_MIN + config.joint_margin_rad,
        upper_joint_limits=JOINT_MAX - config.joint_margin_rad,
    )
    motion.set_reference(tool.reference(start, np.zeros(6)))
    return motion


def home_motion(config: FrankyConfig) -> Any:
    """The slow joint motion home."""
    return franky.JointMotion([float(angle) for angle in config.home])


def torque_stop() -> Any:
    """Ends an impedance motion cleanly: the torque fades into damping."""
    return franky.TorqueStopMotion()


def joint_stop() -> Any:
    """Ends a joint motion cleanly."""
    return franky.JointStopMotion()


def error_names(errors: Any) -> tuple[str, ...]:
    """Names of the raised flags of a franky.Errors."""
    names = (name for name in dir(errors) if not name.startswith("_"))
    return tuple(name for name in names if getattr(errors, name) is True)


def read(raw: Any, tool: Tool, stamp: float) -> ArmState:
    """What a franky.RobotState says; mode and words are the caller's."""
    return ArmState(
        stamp=stamp,
        connected=True,
        errors=error_names(raw.current_errors),
        success_rate=float(raw.control_command_success_rate),
        q=np.array(raw.q),
        dq=np.array(raw.dq),
        ee=tool.tcp(raw.O_T_EE),
        wrench=np.array(raw.O_F_ext_hat_K),
    )


class Tool:
    """Between franky's end effector, which is set in Desk, and fr3_hand_tcp, which we speak of.

    With the Franka Hand chosen in Desk the two are the same frame.
    """

    def __init__(self, flange_from_ee: ArrayLike) -> None:
        ee_from_tcp = np.linalg.inv(np.asarray(flange_from_ee)) @ FLANGE_FROM_TCP
        self.offset_m = float(np.linalg.norm(ee_from_tcp[:3, 3]))
        angle = np.arccos(np.clip((np.trace(ee_from_tcp[:3, :3]) - 1) / 2, -1.0, 1.0))
        self.same = self.offset_m < 5e-4 and float(angle) < 2e-3
        if not self.same:
            logger.warning(
                "the end effector set in Desk is not the Franka Hand; poses are converted to "
                "fr3_hand_tcp, which is %.4f m away from it",
                self.offset_m,
            )
        self._ee_from_tcp = np.eye(4) if self.same else ee_from_tcp
        self._tcp_from_ee = np.linalg.inv(self._ee_from_tcp)

    def tcp(self, base_from_ee: Any) -> Pose:
        """fr3_hand_tcp in the base frame for a franky.Affine of the end effector."""
        if self.same:
            return Pose(np.array(base_from_ee.translation), np.array(base_from_ee.quaternion))
        return Pose.from_matrix(np.asarray(base_from_ee.matrix) @ self._ee_from_tcp)

    def reference(self, tcp: Pose, twist: Floats) -> Any:
        """franky's reference for a pose and twist [6] of fr3_hand_tcp."""
        pose, linear = tcp, twist[:3]
        if not self.same:
            pose = Pose.from_matrix(tcp.matrix @ self._tcp_from_ee)
            linear = linear + np.cross(twist[3:], pose.position - tcp.position)
        target = franky.Affine(pose.position, pose.quaternion)
        return franky.CartesianReference(target, franky.Twist(linear, twist[3:]))
