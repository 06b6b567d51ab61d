"""The commander node: chunks and teleoperation in, guarded targets out, at a fixed rate.

The only publisher of ``target_pose``. All decisions are made in control/commander.py; with several
``arms`` one chunk moves all of them (control/pair.py).
"""

from __future__ import annotations

from pathlib import Path

from molmoact_msgs.msg import ChunkCommand, CommandStatus
from molmoact_msgs.srv import SelectSource
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from molmoact_ros.control.command import Command, Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.direction import DIRECTION_GOAL, missing_record
from molmoact_ros.control.operator import HandBack
from molmoact_ros.control.pair import Arms, together
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.arm_channel import OUTPUTS, ArmChannel, status_message
from molmoact_ros.nodes.corridor_feed import CorridorFeed, declare_corridor
from molmoact_ros.nodes.limit_parameters import declare_limits, limits_from
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
        declare = self.declare
        declare_limits(self)
        declare("rate_hz", 50.0, "target poses a second", (20.0, 200.0))
        declare("base_frame", "fr3_link0", "frame of all poses; <arm>_<this> with several arms")
        declare("arms", [""], "namespaces of the arms; one chunk has 7 columns for each")
        declare("output", "franka", "franka (pose, twist), crisp (pose) or servo (twist)")
        declare("initial_source", "hold", "who has the arm at the start: hold, policy or teleop")
        declare("period", 1.0 / 15.0, "seconds a row of a chunk", (0.01, 1.0))
        declare("crossfade_rows", 3, "rows blended between two chunks", (0, 8))
        declare("hold_to_run", False, "the policy moves only while hold_to_run says true")
        declare("hand_back", "release", "after a take-over: release (policy goes on) or ask")
        declare_corridor(self)
        declare("direction_record", "", "policy refused until this file of the direction test")

    def setup(self) -> None:
        initial = self._choice("initial_source", SOURCES)
        hand_back = HandBack(self._choice("hand_back", [item.value for item in HandBack]))
        output = self._choice("output", OUTPUTS)
        limits = limits_from(self)
        names = [str(name) for name in self.value("arms")] or [""]
        if len(set(names)) < len(names) or (len(names) > 1 and "" in names):
            raise SetupError(f"arms {names}: give different names, or [''] for a single arm")
        self._arms = Arms(
            {
                name: Commander(
                    limits,
                    float(self.value("period")),
                    int(self.value("crossfade_rows")),
                    bool(self.value("hold_to_run")),
                    hand_back,
                )
                for name in names
            }
        )
        self._channels = [
            ArmChannel(self, name, commander, limits, output)
            for name, commander in self._arms.commanders.items()
        ]
        if float(self.value("corridor_radius_m")) > 0.0:
            if len(names) > 1:
                raise SetupError("corridor_radius_m works with one arm; set it to 0 for several")
            self._corridor = CorridorFeed(self, self._arms.commanders[names[0]])
        self._initial = SOURCES[initial]
        self._last_status = 0.0
        self._chunk_id = 0
        self._command: Command | None = None
        self._status = self.create_publisher(CommandStatus, "~/status", LATCHED_QOS)
        subscribe = self.create_subscription
        subscribe(ChunkCommand, "policy/chunk", self._chunk, COMMAND_QOS)
        subscribe(Bool, "hold_to_run", self._hold_to_run, COMMAND_QOS)
        subscribe(Bool, "emergency_stop", self._emergency_stop, COMMAND_QOS)
        self.create_service(SelectSource, "~/select_source", self._select)
        self.create_service(Trigger, "~/stop", self._stop)
        self.create_service(Trigger, "~/reset", self._reset)
        self._timer = self.create_timer(1.0 / float(self.value("rate_hz")), self._tick)
        self._timer.cancel()

    def start(self) -> None:
        problem = self._arms.select_source(self._initial, self.now())
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

    def _choice(self, name: str, known: object) -> str:
        value, words = str(self.value(name)), list(known)  # type: ignore[call-overload]
        if value not in words:
            raise SetupError(f"{name} '{value}': choose one of {', '.join(words)}")
        return value

    def _chunk(self, message: ChunkCommand) -> None:
        now = self.now()
        if message.final:
            self._arms.end_goal(message.goal_id, now)
            return
        try:
            rows = convert.rows_from(message.actions) if message.actions.rows else ()
        except convert.BadMessage as bad:
            self._warn(f"chunk {message.chunk_id} refused: {bad}")
            return
        record = str(self.value("direction_record"))
        if record and not message.goal_id.startswith(DIRECTION_GOAL):
            missing = missing_record(Path(record).expanduser())
            if missing:
                self._warn(f"chunk {message.chunk_id} refused: {missing}")
                self._arms.stop(now, missing)
                return
        stamp = convert.seconds(message.header.stamp)
        refusal = self._arms.feed_chunk(rows, stamp, now, message.goal_id)
        if refusal:
            self._warn(f"chunk {message.chunk_id}: {refusal}")
        elif len(rows):
            self._chunk_id = message.chunk_id

    def _hold_to_run(self, message: Bool) -> None:
        self._arms.hold_to_run(message.data, self.now())

    def _emergency_stop(self, message: Bool) -> None:
        self._arms.emergency_stop(message.data, self.now())

    def _select(
        self, request: SelectSource.Request, response: SelectSource.Response
    ) -> SelectSource.Response:
        if request.source not in iter(Source):
            response.message = f"source {request.source}: 0 hold, 1 policy or 2 teleop"
            return response
        source = Source(request.source)
        response.message = self._arms.select_source(source, self.now())
        response.accepted = not response.message
        response.message = response.message or f"{source.name.lower()} may move the arm"
        return response

    def _stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._arms.stop(self.now())
        self.get_logger().warning("stopped by the operator; call ~/reset to go on")
        response.success, response.message = True, "stopped; reset to go on"
        return response

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusal = self._arms.reset(self.now())
        response.success = not refusal
        response.message = refusal or "reset; select a source to move"
        return response

    def _tick(self) -> None:
        for channel in self._channels:
            channel.look()
        now = self.now()
        commands = self._arms.step(now)
        for channel in self._channels:
            channel.send(commands[channel.name], now)
        command = together(commands)
        previous, self._command = self._command, command
        changed = previous is None or (previous.source, previous.enabled) != (
            command.source,
            command.enabled,
        )
        if changed or not 0.0 <= now - self._last_status <= STATUS_PERIOD_S:
            self._last_status = now
            for channel in self._channels:
                channel.report(commands[channel.name], now, self._chunk_id)
            base = self._channels[0].base
            self._status.publish(status_message(command, now, self._chunk_id, base))

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=1.0)


def main() -> None:
    run(CommanderNode)


if __name__ == "__main__":
    main()
