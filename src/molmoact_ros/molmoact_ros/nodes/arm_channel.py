"""One arm's topics around one commander: state and hand in, guarded targets out.

The commander node has one of these for each of its arms; an arm's name is the namespace of its
topics, and "" stands for none.
"""

from __future__ import annotations

import math

from geometry_msgs.msg import PoseStamped, TwistStamped
from molmoact_msgs.msg import ArmStatus, CommandStatus
from rclpy.qos import qos_profile_sensor_data
from std_msgs.msg import Float64, Header

from molmoact_ros.control.command import Command
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.control.servo import servo_twist
from molmoact_ros.geometry import Pose
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.drained import Drained
from molmoact_ros.nodes.runtime import COMMAND_QOS, LATCHED_QOS, ManagedNode

OUTPUTS = ("franka", "crisp", "servo")


class ArmChannel:
    """``output``: franka (pose, twist, gripper), crisp (pose, gripper), servo (twist, gripper)."""

    def __init__(
        self, node: ManagedNode, name: str, commander: Commander, limits: Limits, output: str
    ) -> None:
        self._node, self.name, self._commander, self._limits = node, name, commander, limits
        base = str(node.value("base_frame"))
        self.base = f"{name}_{base}" if name else base
        self._measured: Pose | None = None
        self._poses = self._twists = self._status = None
        publish, subscribe = node.create_publisher, node.create_subscription
        if output != "servo":
            self._poses = publish(PoseStamped, self._topic("target_pose"), COMMAND_QOS)
        if output != "crisp":
            self._twists = publish(TwistStamped, self._topic("target_twist"), COMMAND_QOS)
        self._servo = output == "servo"
        self._gripper = publish(Float64, self._topic("gripper_command"), COMMAND_QOS)
        if name:
            self._status = publish(CommandStatus, self._topic("command_status"), LATCHED_QOS)
        self._states = Drained(node)
        self._states.subscribe(
            PoseStamped, self._topic("current_pose"), self._feed_pose, qos_profile_sensor_data
        )
        subscribe(ArmStatus, self._topic("arm_status"), self._feed_status, LATCHED_QOS)
        subscribe(TwistStamped, self._topic("teleop/twist"), self._feed_twist, COMMAND_QOS)
        subscribe(Float64, self._topic("teleop/gripper"), self._feed_gripper, COMMAND_QOS)

    def look(self) -> None:
        """Feed the poses measured since the last tick."""
        self._states.drain()

    def send(self, command: Command, now: float) -> None:
        """Publish one tick's targets."""
        if command.pose is None:
            return
        # The twist first: the arm uses it with the pose of the same stamp.
        if self._twists is not None:
            twist = command.twist
            if self._servo:
                twist = servo_twist(command, self._measured, self._limits)
            self._twists.publish(convert.twist_stamped(twist, now, self.base))
        if self._poses is not None:
            self._poses.publish(convert.pose_stamped(command.pose, now, self.base))
        if command.gripper is not None:
            self._gripper.publish(Float64(data=float(command.gripper)))

    def report(self, command: Command, now: float, chunk_id: int) -> None:
        """This arm's own status, when it is one of several."""
        if self._status is not None:
            self._status.publish(status_message(command, now, chunk_id, self.base))

    def _topic(self, name: str) -> str:
        return f"{self.name}/{name}" if self.name else name

    def _feed_pose(self, message: PoseStamped) -> None:
        if message.header.frame_id and message.header.frame_id != self.base:
            self._warn(
                f"current_pose is in frame '{message.header.frame_id}', expected '{self.base}'; "
                "set base_frame of the arm driver and of the commander alike"
            )
            return
        pose = convert.pose_from(message.pose)
        stamp, now = convert.seconds(message.header.stamp), self._node.now()
        try:
            self._commander.feed_measured(pose.position, pose.quaternion, stamp, now)
            self._measured = pose
        except Refused as refusal:
            self._warn(f"current_pose refused: {refusal}")

    def _feed_status(self, message: ArmStatus) -> None:
        ready = message.connected and message.armed
        words = message.detail or f"it is {message.mode}; call ~/arm of the arm node"
        self._commander.feed_arm_ready(ready, message.detail if ready else words)

    def _feed_twist(self, message: TwistStamped) -> None:
        if message.header.frame_id and message.header.frame_id != self.base:
            self._warn(
                f"teleop twist in frame '{message.header.frame_id}' ignored, expected '{self.base}'"
            )
            return
        # Devices that do not stamp (a browser) are judged by arrival alone.
        stamp = convert.seconds(message.header.stamp) or None
        try:
            self._commander.feed_teleop(convert.twist_from(message), None, self._node.now(), stamp)
        except Refused as refusal:
            self._warn(f"teleop refused: {refusal}")

    def _feed_gripper(self, message: Float64) -> None:
        if math.isfinite(message.data):
            opening = min(1.0, max(0.0, message.data))
            self._commander.feed_teleop_gripper(opening, self._node.now())

    def _warn(self, text: str) -> None:
        prefix = f"{self.name}: " if self.name else ""
        self._node.get_logger().warning(prefix + text, throttle_duration_sec=1.0)


def status_message(command: Command, now: float, chunk_id: int, frame: str) -> CommandStatus:
    return CommandStatus(
        header=Header(stamp=convert.to_time(now), frame_id=frame),
        source=int(command.source),
        enabled=command.enabled,
        limited=command.limited,
        reason=command.reason,
        command_age=float(command.command_age),
        chunk_row=command.chunk_row,
        chunk_id=chunk_id,
        tracking_error=float(command.tracking_error),
    )
