"""The franka node: target poses to the arm, the arm's state to the graph. franky lives inside.

Last-line guards, watchdog and recovery are the arm's (robot/franky_arm.py); this node moves data.
"""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from molmoact_msgs.msg import ArmStatus
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, Header
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.answered_later import answered_later
from molmoact_ros.nodes.arm_parameters import arm_config_from, declare_arm
from molmoact_ros.nodes.drained import Drained
from molmoact_ros.nodes.limit_parameters import declare_limits, limits_from
from molmoact_ros.nodes.runtime import (
    COMMAND_QOS,
    ERROR,
    LATCHED_QOS,
    OK,
    SENSOR_QOS,
    WARN,
    ManagedNode,
    SetupError,
    run,
)
from molmoact_ros.robot.base import Arm, ArmError, ArmState
from molmoact_ros.robot.factory import make_arm

STATUS_PERIOD_S = 0.1


class FrankaNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("franka")
        declare = self.declare
        declare_arm(self)
        declare_limits(self)
        declare("arm", "franky", "franky (a real or simulated robot) or fake (kinematics only)")
        declare("rate_hz", 120.0, "looks for a new state a second", (10.0, 500.0))
        declare("base_frame", "fr3_link0", "frame of all poses")
        declare("joint_prefix", "fr3", "joints are <prefix>_joint1 .. 7, as in the robot model")
        declare("arm_at_start", False, "follow the first targets that come (simulation)")
        self._arm: Arm | None = None

    def setup(self) -> None:
        self._base = str(self.value("base_frame"))
        prefix = str(self.value("joint_prefix"))
        self._fingers_names = [f"{prefix}_finger_joint{i}" for i in (1, 2)]
        self._joint_names = [f"{prefix}_joint{i}" for i in range(1, 8)] + self._fingers_names
        config, limits = arm_config_from(self), limits_from(self)
        try:
            self._arm = make_arm(str(self.value("arm")), config, limits, self.now)
        except (ArmError, ValueError) as error:
            raise SetupError(str(error)) from error
        publish = self.create_publisher
        self._pose = publish(PoseStamped, "current_pose", SENSOR_QOS)
        self._joints = publish(JointState, "joint_states", SENSOR_QOS)
        self._wrench = publish(WrenchStamped, "external_wrench", SENSOR_QOS)
        self._fingers = publish(JointState, "gripper/joint_states", SENSOR_QOS)
        self._status = publish(ArmStatus, "~/status", LATCHED_QOS)
        self._twist: TwistStamped | None = None
        self._last_stamp = self._last_status = 0.0
        self._told = self._rivals = ""
        self._holding = publish(Bool, "gripper/holding", LATCHED_QOS)
        self._held: bool | None = None
        self._targeted = False
        self._arm_at_start = bool(self.value("arm_at_start"))
        self._commanded = False
        subscribe = self.create_subscription
        self._targets = subscribe(PoseStamped, "target_pose", self._target, COMMAND_QOS)
        # What comes as often as the pose and means something only with it, or soon.
        self._beside = Drained(self)
        self._beside.subscribe(TwistStamped, "target_twist", self._target_twist, COMMAND_QOS)
        self._beside.subscribe(Float64, "gripper_command", self._gripper, COMMAND_QOS)
        # A group of their own: answers take seconds, and the state must be published meanwhile.
        slow = ReentrantCallbackGroup()
        for name in ("arm", "disarm", "stop", "recover", "home", "retreat"):
            ask = answered_later(self, getattr(self._arm, name))
            self.create_service(Trigger, f"~/{name}", ask, callback_group=slow)
        self._timer = self.create_timer(1.0 / float(self.value("rate_hz")), self._tick)
        self._timer.cancel()
        self._arm.start()

    def start(self) -> None:
        self._beside.drain()  # not active yet: what was asked for before is dropped
        self._timer.reset()

    def halt(self) -> None:
        self._timer.cancel()
        if self._arm is not None:
            self._arm.stop()

    def teardown(self) -> None:
        if self._arm is not None:
            self._arm.close()
            self._arm = None

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if self._arm is None:
            return WARN, "not configured", {}
        state = self._arm.state()
        level = ERROR if state.errors or not state.connected else OK if state.ready else WARN
        return (
            level,
            self._rivals or state.detail or state.mode,
            {
                "success_rate": f"{state.success_rate:.2f}",
                "recoveries": state.recoveries,
                **{f"recovered from {kind}": n for kind, n in state.recovered.items()},
                **{f"faults, {kind}": n for kind, n in state.faults.items()},
                "dexterity": f"{state.dexterity:.3f}" if state.connected else "unknown",
                "gripper holds something": state.gripper_holding,
            },
        )

    def _target_twist(self, message: TwistStamped) -> None:
        self._twist = message

    def _target(self, message: PoseStamped) -> None:
        if self._arm is None or not self.active:
            return
        self._targeted = True
        if message.header.frame_id != self._base:
            self._complain(
                f"target_pose in frame '{message.header.frame_id}' ignored: expected '{self._base}'"
            )
            return
        if self._rivals:
            self._complain(self._rivals)
            return
        # The twist of the same tick was published before, with the same stamp; an older one is
        # no use.
        self._beside.drain()
        self._commanded = True
        twist = None
        if self._twist is not None and self._twist.header.stamp == message.header.stamp:
            twist = convert.twist_from(self._twist)
        refused = self._arm.set_reference(convert.pose_from(message.pose), twist)
        if refused and refused != self._told and not self._arm_at_start:
            self._complain(f"target_pose not followed: {refused}")
        self._told = refused

    def _gripper(self, message: Float64) -> None:
        if self._arm is None or not self.active:
            return
        if 0.0 <= message.data <= 1.0:
            self._arm.set_gripper(message.data)
        else:
            self._complain(f"gripper_command {message.data} ignored: send 0 (closed) .. 1 (open)")

    def _tick(self) -> None:
        assert self._arm is not None
        self._beside.drain()
        state = self._arm.state()
        # With a commander only: an armed arm that gets no targets would disarm at once.
        ready = state.connected and not state.armed and state.mode == "idle"
        if self._arm_at_start and ready and self._commanded:
            self._arm_at_start = False
            self._arm.arm()
        if state.connected and state.stamp != self._last_stamp:
            self._last_stamp = state.stamp
            self._publish_state(state)
        now = self.now()
        if now - self._last_status >= STATUS_PERIOD_S:
            self._last_status = now
            self._rivals = self._find_rivals()
            self._publish_status(state, now)

    def _find_rivals(self) -> str:
        """Two commanders would pull the arm to and fro: then neither is followed."""
        topic = self._targets.topic_name
        if self.count_publishers(topic) < 2:
            return ""
        senders = self.get_publishers_info_by_topic(topic)
        names = ", ".join(sorted(f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in senders))
        return f"{topic} has {len(senders)} publishers ({names}) and is ignored; keep one of them"

    def _publish_state(self, state: ArmState) -> None:
        header = Header(stamp=convert.to_time(state.stamp), frame_id=self._base)
        self._pose.publish(PoseStamped(header=header, pose=convert.pose_message(state.ee)))
        half = state.gripper_width / 2.0
        self._joints.publish(
            JointState(
                header=header,
                name=self._joint_names,
                position=[*map(float, state.q), half, half],
                velocity=[*map(float, state.dq), 0.0, 0.0],
            )
        )
        self._fingers.publish(
            JointState(header=header, name=self._fingers_names, position=[half, half])
        )
        wrench = WrenchStamped(header=header)
        force, torque = wrench.wrench.force, wrench.wrench.torque
        if state.gripper_holding is not self._held:
            self._held = state.gripper_holding
            self._holding.publish(Bool(data=self._held))
        force.x, force.y, force.z, torque.x, torque.y, torque.z = map(float, state.wrench)
        self._wrench.publish(wrench)

    def _publish_status(self, state: ArmState, now: float) -> None:
        self._status.publish(
            ArmStatus(
                header=Header(stamp=convert.to_time(now), frame_id=self._base),
                connected=state.connected,
                armed=state.armed and state.ready and not self._rivals,
                mode=state.mode,
                errors=list(state.errors),
                detail=self._rivals or state.detail,
                success_rate=float(state.success_rate),
                recoveries=state.recoveries,
                gripper_width=float(state.gripper_width),
            )
        )

    def _complain(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=1.0)


def main() -> None:
    run(FrankaNode)


if __name__ == "__main__":
    main()
