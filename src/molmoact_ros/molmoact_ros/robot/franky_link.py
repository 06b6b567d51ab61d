"""Everything that is said to franky in one place: connection, limits, motions, readings.

No state and no threads. Facts about franky 2.0.0 that shaped this file were measured: the wheel
believes it drives a Panda, its impedance tracker has no watchdog, its errors arrive late.
"""

from __future__ import annotations

import logging
from typing import Any

import franky
import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.control.kinematics import FLANGE_FROM_TCP
from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.robot.base import ArmError, ArmState
from molmoact_ros.robot.config import FrankyConfig
from molmoact_ros.robot.models import RobotModel

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


def connect(config: FrankyConfig) -> Any:
    """A franky.Robot with every limit set explicitly.

    Raises one of ERRORS, and ArmError when this franky does not speak to this robot at all.
    """
    realtime = (
        franky.RealtimeConfig.Ignore
        if config.realtime == "ignore"
        else franky.RealtimeConfig.Enforce
    )
    try:
        robot = franky.Robot(config.host, realtime_config=realtime)
    except franky.IncompatibleVersionException as error:
        raise ArmError(
            f"the robot at {config.host} speaks another version of the protocol ({error}): "
            f"{config.robot.wheel_hint}"
        ) from error
    robot.relative_dynamics_factor = config.home_speed
    capped = set_limits(robot, config.robot)
    if capped:
        logger.info("franky allows less than the %s: %s", config.model, ", ".join(capped))
    (low_tau, high_tau), (low_f, high_f) = config.collision_torque_nm, config.collision_force_n
    robot.set_collision_behavior([low_tau] * 7, [high_tau] * 7, [low_f] * 6, [high_f] * 6)
    return robot


def set_limits(robot: Any, model: RobotModel) -> list[str]:
    """Set every motion limit of ``robot`` to ``model``'s; returns what franky would not allow.

    The wheel of PyPI believes it drives a Panda: an FR3 driven with those accelerations stops
    itself. It refuses more than its own maximum, so the smaller of the two is set.
    """
    capped = []
    for name, wanted in model.motion_limits.items():
        limit = getattr(robot, name)
        asked = np.asarray(wanted, dtype=np.float64)
        value = np.minimum(asked, limit.max)
        limit.set(float(value) if value.ndim == 0 else value)
        if (value < asked).any():
            capped.append(f"{name} {value.tolist()} instead of {asked.tolist()}")
    return capped


def gripper(config: FrankyConfig) -> Any:
    """A franky.Gripper. Raises one of ERRORS."""
    return franky.Gripper(config.host)


def is_network(error: BaseException) -> bool:
    """Whether franky's object is dead after this error and only a new one connects again."""
    return isinstance(error, franky.NetworkException) or "Net Exception" in str(error)


def tracking_motion(robot: Any, start: Pose, tool: Tool, config: FrankyConfig) -> Any:
    """A fresh impedance tracker resting at ``start``; motions of franky run only once."""
    # The controller's own wall stands behind the guard's, which says why it refuses.
    soft = 0.5 * config.joint_margin_rad
    motion = franky.CartesianImpedanceTrackingMotion(
        translational_stiffness=config.stiffness_n_m,
        rotational_stiffness=config.stiffness_nm_rad,
        translational_error_clip=np.full(3, config.error_clip_m),
        rotational_error_clip=np.full(3, config.error_clip_rad),
        posture_task=franky.PostureTask(
            np.array(robot.state.q, dtype=np.float64), stiffness=config.posture_stiffness
        ),
        max_delta_tau=config.torque_rate_nm,
        lower_joint_limits=np.asarray(config.robot.joint_min) + soft,
        upper_joint_limits=np.asarray(config.robot.joint_max) - soft,
    )
    motion.set_reference(tool.reference(start, np.zeros(6)))
    return motion


def home_motion(config: FrankyConfig) -> Any:
    """The slow joint motion home."""
    return franky.JointMotion([float(angle) for angle in config.home])


def retreat_motion(config: FrankyConfig, here: Pose, tool: Tool) -> Any:
    """The slow motion straight up from ``here`` (fr3_hand_tcp in the base frame)."""
    up = Pose(here.position + np.array([0.0, 0.0, config.retreat_m]), here.quaternion)
    # Absolute: franky's relative targets are in the end effector's frame, where up is down.
    return franky.CartesianMotion(
        tool.affine(up),
        franky.ReferenceType.Absolute,
        relative_dynamics_factor=config.retreat_speed / config.home_speed,
    )


def torque_stop() -> Any:
    """Ends an impedance motion cleanly: the torque fades into damping."""
    return franky.TorqueStopMotion()


def joint_stop() -> Any:
    """Ends a joint motion cleanly."""
    return franky.JointStopMotion()


def cartesian_stop() -> Any:
    """Ends a Cartesian motion cleanly."""
    return franky.CartesianStopMotion()


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
        pose, linear = self._ee(tcp), twist[:3]
        if not self.same:
            linear = linear + np.cross(twist[3:], pose.position - tcp.position)
        target = franky.Affine(pose.position, pose.quaternion)
        return franky.CartesianReference(target, franky.Twist(linear, twist[3:]))

    def affine(self, tcp: Pose) -> Any:
        """franky's end-effector pose for a pose of fr3_hand_tcp."""
        pose = self._ee(tcp)
        return franky.Affine(pose.position, pose.quaternion)

    def _ee(self, tcp: Pose) -> Pose:
        return tcp if self.same else Pose.from_matrix(tcp.matrix @ self._tcp_from_ee)
