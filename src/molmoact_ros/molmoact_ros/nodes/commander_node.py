"""The commander node: chunks and teleoperation in, one guarded target pose out, at a fixed rate.

The only publisher of ``target_pose``. All decisions are made in control/commander.py.
"""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped, TwistStamped
from molmoact_msgs.msg import ArmStatus, ChunkCommand, CommandStatus
from molmoact_msgs.srv import SelectSource
from rclpy.qos import qos_profile_sensor_data
from std_msgs.msg import Float64, Header
from std_srvs.srv import Trigger

from molmoact_ros.control.command import Command, Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.guards import Limits, Refused
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import (
    COMMAND_QOS,
    LATCHED_QOS,
    OK,
    WARN,
    ManagedNode,
    SetupError,
    run,
)

STATUS_PERIOD_S = 0.1
SOURCES = {"hold": Source.HOLD, "policy": Source.POLICY, "teleop": Source.TELEOP}


class CommanderNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("commander")
        declare, limits = self.declare, Limits()
        declare("rate_hz", 50.0, "target poses a second", (20.0, 200.0))
        declare("base_frame", "fr3_link0", "frame of all poses")
        declare("initial_source", "hold", "who has the arm at the start: hold, policy or teleop")
        declare("period", 1.0 / 15.0, "seconds a row of a chunk", (0.01, 1.0))
        declare("crossfade_rows", 3, "rows blended between two chunks", (0, 8))
        declare("step_m", limits.step_m, "longest row in metres", (1e-4, 0.1))
        declare("step_rad", limits.step_rad, "largest row in radians", (1e-3, 0.5))
        declare("speed_m_s", limits.speed_m_s, "fastest target", (0.01, 1.0))
        declare("speed_rad_s", limits.speed_rad_s, "fastest turn", (0.01, 2.0))
        declare("box_min_m", list(limits.box_min_m), "workspace corner x y z, base frame")
        declare("box_max_m", list(limits.box_max_m), "workspace corner x y z, base frame")
        declare("tilt_rad", limits.tilt_rad, "largest tilt of the tool from vertical", (0.0, 1.6))
        declare("observation_age_s", limits.observation_age_s, "older images: refused", (0.1, 10.0))

    def setup(self) -> None:
        self._base = str(self.value("base_frame"))
        initial = str(self.value("initial_source"))
        if initial not in SOURCES:
            raise SetupError(f"initial_source '{initial}': choose one of {', '.join(SOURCES)}")
        try:
            self._limits = Limits(
                step_m=self.value("step_m"),
                step_rad=self.value("step_rad"),
                speed_m_s=self.value("speed_m_s"),
                speed_rad_s=self.value("speed_rad_s"),
                box_min_m=_corner(self.value("box_min_m")),
                box_max_m=_corner(self.value("box_max_m")),
                tilt_rad=self.value("tilt_rad"),
                observation_age_s=self.value("observation_age_s"),
            )
        except ValueError as error:
            raise SetupError(str(error)) from error
        self._commander = Commander(
            self._limits, float(self.value("period")), int(self.value("crossfade_rows"))
        )
        self._initial = SOURCES[initial]
        self._told = ""
        self._last_status = 0.0
        self._chunk_id = 0
        self._command: Command | None = None
        self._pose = self.create_publisher(PoseStamped, "target_pose", COMMAND_QOS)
        self._twist = self.create_publisher(TwistStamped, "target_twist", COMMAND_QOS)
        self._gripper = self.create_publisher(Float64, "gripper_command", COMMAND_QOS)
        self._status = self.create_publisher(CommandStatus, "~/status", LATCHED_QOS)
        subscribe = self.create_subscription
        subscribe(PoseStamped, "current_pose", self._measured, qos_profile_sensor_data)
        subscribe(ArmStatus, "arm_status", self._arm, LATCHED_QOS)
        subscribe(ChunkCommand, "policy/chunk", self._chunk, COMMAND_QOS)
        subscribe(TwistStamped, "teleop/twist", self._teleop, COMMAND_QOS)
        subscribe(Float64, "teleop/gripper", self._teleop_gripper, COMMAND_QOS)
        self._hand: float | None = None
        self.create_service(SelectSource, "~/select_source", self._select)
        self.create_service(Trigger, "~/stop", self._stop)
        self.create_service(Trigger, "~/reset", self._reset)
        self._timer = self.create_timer(1.0 / float(self.value("rate_hz")), self._tick)
        self._timer.cancel()

    def start(self) -> None:
        problem = self._commander.select_source(self._initial, self.now())
        if problem:
            self.get_logger().warning(problem)
        self._timer.reset()

    def halt(self) -> None:
        self._timer.cancel()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        command = self._command
        if command is None:
            return WARN, "not running", {}
        level = WARN if not command.enabled or command.limited else OK
        return (
            level,
            command.reason or f"{command.source.name.lower()} has the arm",
            {
                "source": command.source.name,
                "tracking_error_m": f"{command.tracking_error:.4f}",
                "command_age_s": f"{command.command_age:.3f}",
            },
        )

    def _measured(self, message: PoseStamped) -> None:
        pose = convert.pose_from(message.pose)
        try:
            self._commander.feed_measured(
                pose.position, pose.quaternion, convert.seconds(message.header.stamp)
            )
        except Refused as refusal:
            self._warn(f"current_pose refused: {refusal}")

    def _arm(self, message: ArmStatus) -> None:
        ready = message.connected and message.armed
        self._commander.feed_arm_ready(ready, message.detail)

    def _chunk(self, message: ChunkCommand) -> None:
        now = self.now()
        if message.final:
            self._commander.end_goal(message.goal_id, now)
            return
        try:
            rows = convert.rows_from(message.actions) if message.actions.rows else ()
        except convert.BadMessage as bad:
            self._warn(f"chunk {message.chunk_id} refused: {bad}")
            return
        stamp = convert.seconds(message.header.stamp)
        refusal = self._commander.feed_chunk(rows, stamp, now, message.goal_id)
        if refusal:
            self._warn(f"chunk {message.chunk_id}: {refusal}")
        elif len(rows):
            self._chunk_id = message.chunk_id

    def _teleop(self, message: TwistStamped) -> None:
        try:
            self._commander.feed_teleop(convert.twist_from(message), self._hand, self.now())
        except Refused as refusal:
            self._warn(f"teleop refused: {refusal}")

    def _teleop_gripper(self, message: Float64) -> None:
        self._hand = min(1.0, max(0.0, message.data)) if message.data == message.data else None

    def _select(
        self, request: SelectSource.Request, response: SelectSource.Response
    ) -> SelectSource.Response:
        if request.source not in iter(Source):
            response.message = f"source {request.source}: 0 hold, 1 policy or 2 teleop"
            return response
        source = Source(request.source)
        response.message = self._commander.select_source(source, self.now())
        response.accepted = not response.message
        response.message = response.message or f"{source.name.lower()} may move the arm"
        return response

    def _stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._commander.stop(self.now())
        self.get_logger().warning("stopped by the operator; call ~/reset to go on")
        response.success, response.message = True, "stopped; reset to go on"
        return response

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._commander.reset(self.now())
        response.success, response.message = True, "reset; select a source to move"
        return response

    def _tick(self) -> None:
        now = self.now()
        command = self._commander.step(now)
        if command.pose is not None:
            # The twist first: the arm uses it with the pose of the same stamp.
            self._twist.publish(convert.twist_stamped(command.twist, now, self._base))
            self._pose.publish(convert.pose_stamped(command.pose, now, self._base))
            if command.gripper is not None:
                self._gripper.publish(Float64(data=float(command.gripper)))
        previous, self._command = self._command, command
        changed = previous is None or (previous.source, previous.enabled) != (
            command.source,
            command.enabled,
        )
        if changed or now - self._last_status > STATUS_PERIOD_S:
            self._last_status = now
            self._publish_status(command, now)

    def _publish_status(self, command: Command, now: float) -> None:
        self._status.publish(
            CommandStatus(
                header=Header(stamp=convert.to_time(now), frame_id=self._base),
                source=int(command.source),
                enabled=command.enabled,
                limited=command.limited,
                reason=command.reason,
                command_age=float(command.command_age),
                chunk_row=command.chunk_row,
                chunk_id=self._chunk_id,
                tracking_error=float(command.tracking_error),
            )
        )

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=1.0)


def _corner(values: object) -> tuple[float, float, float]:
    numbers = [float(v) for v in values]  # type: ignore[attr-defined]
    if len(numbers) != 3:
        raise SetupError(f"a workspace corner has {len(numbers)} numbers, expected x, y, z")
    return numbers[0], numbers[1], numbers[2]


def main() -> None:
    run(CommanderNode)


if __name__ == "__main__":
    main()
