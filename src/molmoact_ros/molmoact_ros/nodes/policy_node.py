"""The policy node: images and an instruction in; reasoning, status and chunks out.

It never moves anything itself: in AUTO it hands chunks to the commander, in REVIEW only those a
person approved, in SHADOW it only publishes what it thinks. A refused answer, an error or a path
drawn in between sends an empty chunk, which is HOLD.
"""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import replace

import numpy as np
from builtin_interfaces.msg import Time
from molmoact_msgs.action import ExecuteInstruction
from molmoact_msgs.msg import ChunkCommand, PolicyStatus, Reasoning, VisualTrace
from molmoact_msgs.srv import StartInstruction
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from molmoact_ros.geometry import Floats
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.inputs import ObservationInputs
from molmoact_ros.nodes.policy_operator import OperatorServices
from molmoact_ros.nodes.runtime import (
    COMMAND_QOS,
    ERROR,
    LATCHED_QOS,
    OK,
    WARN,
    ManagedNode,
    SetupError,
    run,
)
from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.factory import PolicySpec, make_policy
from molmoact_ros.policy.goal import GoalLoop, GoalResult, GoalSettings, Outcome
from molmoact_ros.policy.observations import ObservationBuffer
from molmoact_ros.policy.operator_desk import OperatorDesk
from molmoact_ros.policy.startup_checks import (
    RobotDescription,
    in_one_sentence,
    startup_refusals,
)
from molmoact_ros.reasoning.prompts import BadInstruction, check_instruction
from molmoact_ros.reasoning.sketch import BadSketch, Sketch
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

SLOTS = ("external", "wrist")
MODES = {
    "auto": ExecuteInstruction.Goal.AUTO,
    "review": ExecuteInstruction.Goal.REVIEW,
    "shadow": ExecuteInstruction.Goal.SHADOW,
}
JPEG = {"auto": None, "on": True, "off": False}
TOKEN_VARIABLE = "MOLMOACT_TOKEN"
NO_ROWS = np.zeros((0, 7))


class Run:
    """One goal under way: its id, its thread, and whom to tell when it ends."""

    def __init__(self, instruction: str, mode: int, max_duration: float) -> None:
        self.goal_id = uuid.uuid4().hex
        self.instruction = instruction
        self.mode = mode
        self.max_duration = max_duration
        self.canceled = threading.Event()
        self.preempted = False
        self.sketch: Sketch | None = None
        self.handle: ServerGoalHandle | None = None
        self.result: Future | None = None
        self.thread: threading.Thread | None = None


class PolicyNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("policy")
        declare = self.declare
        declare("policy", "scripted", "scripted (expert), molmoact (model) or remote (server)")
        declare(
            "checkpoint", "", "folder or owner/name@commit of a model; empty: small random weights"
        )
        declare("unnorm_key", "", "statistics key; empty: the checkpoint's only one")
        declare("seed", 0, "seed of the random weights", (0, 2**31 - 1))
        declare("device", "cpu", "where a model runs: cpu or cuda; empty: cuda if there is one")
        declare("server", "ws://127.0.0.1:8770", "address of the policy server, for policy remote")
        declare("token", "", f"its secret; better in the variable {TOKEN_VARIABLE}")
        declare("timeout", 10.0, "seconds for one thought of the policy server", (0.1, 600.0))
        declare("jpeg", "auto", "pictures to the server as JPEG: auto (over networks), on or off")
        declare("mode", "auto", "auto, review or shadow, for goals started without one")
        declare("instruction", "", "start with this instruction; empty: wait for a goal")
        declare("images", 2, "cameras the policy sees, external first", (1, 2))
        declare("period", 1.0 / 15.0, "seconds a row of a chunk", (0.01, 1.0))
        declare("rethink_after_rows", 4, "think again when this row is reached", (1, 64))
        declare("finish_after_rest", 3.0, "seconds without motion that end a goal", (0.0, 600.0))
        declare("max_image_age", 1.0, "seconds; an older image is refused", (0.05, 10.0))
        declare("sensor_timeout", 10.0, "seconds without images that end a goal", (0.5, 600.0))
        declare("base_frame", "fr3_link0", "frame of poses and chunks")
        self._lock = threading.RLock()
        self._run: Run | None = None
        self._status = PolicyStatus(detail="starting")
        self._loop: GoalLoop | None = None
        self._planned = 0

    def setup(self) -> None:
        if self.value("mode") not in MODES:
            raise SetupError(f"mode '{self.value('mode')}': choose one of {', '.join(MODES)}")
        self._base = str(self.value("base_frame"))
        self._period = float(self.value("period"))
        slots = SLOTS[: int(self.value("images"))]
        if self.value("jpeg") not in JPEG:
            raise SetupError(f"jpeg '{self.value('jpeg')}': choose one of {', '.join(JPEG)}")
        self._robot = RobotDescription(
            cameras=slots,
            unnorm_key=str(self.value("unnorm_key")),
            period=self._period,
            steering=True,
        )
        spec = PolicySpec(
            kind=str(self.value("policy")),
            checkpoint=str(self.value("checkpoint")),
            unnorm_key=str(self.value("unnorm_key")),
            images=len(slots),
            seed=int(self.value("seed")),
            device=str(self.value("device")),
            server=str(self.value("server")),
            token=str(self.value("token")) or os.environ.get(TOKEN_VARIABLE, ""),
            timeout=float(self.value("timeout")),
            jpeg=JPEG[str(self.value("jpeg"))],
            robot=self._robot,
        )
        try:
            self._policy = make_policy(spec)
        except (PolicyError, OSError, ValueError) as error:
            raise SetupError(f"policy '{spec.kind}' cannot start: {error}") from error
        self._buffer = ObservationBuffer(
            slots,
            max_age=float(self.value("max_image_age")),
            needs_geometry=self._policy.needs_geometry,
        )
        settings = GoalSettings(
            period=self._period,
            rethink_after_rows=int(self.value("rethink_after_rows")),
            sensor_timeout=float(self.value("sensor_timeout")),
            finish_after_rest=float(self.value("finish_after_rest")),
        )
        self._desk = OperatorDesk(self.now)
        self._loop = GoalLoop(self._policy, self._buffer, self, settings, self.now, self._desk)
        self._reasoning = self.create_publisher(Reasoning, "~/reasoning", LATCHED_QOS)
        self._chunks = self.create_publisher(ChunkCommand, "~/chunk", COMMAND_QOS)
        self._status_pub = self.create_publisher(PolicyStatus, "~/status", LATCHED_QOS)
        self._inputs = ObservationInputs(self, self._buffer, slots, self._base)
        self._actions = ActionServer(
            self,
            ExecuteInstruction,
            "~/execute_instruction",
            execute_callback=self._execute,
            goal_callback=self._accept,
            cancel_callback=self._accept_cancel,
        )
        self._operator = OperatorServices(
            self, self._desk, self._buffer, self._steer, self._steering_changed
        )
        self.create_service(StartInstruction, "~/start", self._start_service)
        self.create_service(Trigger, "~/cancel", self._cancel_service)
        self.get_logger().info(f"policy: {self._policy.description}")
        self._say(PolicyStatus.IDLE, "ready: give an instruction")

    def start(self) -> None:
        instruction = str(self.value("instruction"))
        if instruction:
            self._begin(Run(instruction, MODES[str(self.value("mode"))], 0.0))

    def halt(self) -> None:
        self._stop_run(preempted=False)

    def teardown(self) -> None:
        # A policy server has one place; it must be free as soon as this robot leaves.
        close = getattr(getattr(self, "_policy", None), "close", None)
        if close is not None:
            close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        status = self._status
        level = {PolicyStatus.FAULT: ERROR, PolicyStatus.WAITING_FOR_DATA: WARN}
        return (
            level.get(status.phase, OK),
            status.detail,
            {"chunk": status.chunk_id, "inference_time_s": f"{status.inference_time:.3f}"},
        )

    # Goals. Everything here runs in the executor's thread, except _work.

    def _accept(self, goal: ExecuteInstruction.Goal) -> GoalResponse:
        problem = self._problem_with(goal.instruction, goal.mode)
        try:
            if goal.trace.points:
                self._operator.sketch_from(goal.trace, until_cleared=True)
        except BadSketch as bad:
            problem = problem or str(bad)
        if problem:
            self.get_logger().error(f"goal refused: {problem}")
            self._say(PolicyStatus.IDLE, problem)
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _accept_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        with self._lock:
            if self._run is not None and self._run.handle is handle:
                self._run.canceled.set()
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteInstruction.Result:
        goal = handle.request
        new = Run(goal.instruction, goal.mode, convert.seconds(goal.max_duration))
        new.handle, new.result = handle, Future(executor=self.executor)
        if goal.trace.points:
            new.sketch = self._operator.sketch_from(goal.trace, until_cleared=True)
        self._begin(new)
        result: ExecuteInstruction.Result = await new.result
        if handle.is_cancel_requested:
            handle.canceled()
        elif result.reason in (result.FINISHED, result.TIMED_OUT):
            handle.succeed()
        else:
            handle.abort()
        return result

    def _start_service(
        self, request: StartInstruction.Request, response: StartInstruction.Response
    ) -> StartInstruction.Response:
        problem = self._problem_with(request.instruction, request.mode)
        if not problem:
            self._begin(Run(request.instruction, request.mode, 0.0))
        response.accepted = not problem
        response.message = problem or f"thinking about: {request.instruction}"
        return response

    def _cancel_service(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success = self._stop_run(preempted=False)
        response.message = "canceled; the arm holds" if response.success else "nothing was running"
        return response

    def _problem_with(self, instruction: str, mode: int) -> str:
        if not self.active:
            return "the policy node is not active: activate it first"
        if mode not in MODES.values():
            return f"mode {mode}: 0 auto, 1 review or 2 shadow"
        try:
            check_instruction(instruction)
        except BadInstruction as bad:
            return str(bad)
        model, size = getattr(self._policy, "model", None), self._buffer.image_size()
        if model is None or size is None:
            return ""
        seen = replace(self._robot, image_sizes=(size,))
        return in_one_sentence(startup_refusals(seen, model))

    def _begin(self, new: Run) -> None:
        self._stop_run(preempted=True)
        with self._lock:
            self._run = new
            if new.sketch is not None:
                self._desk.steer(new.sketch, preempt=False)
            new.thread = threading.Thread(target=self._work, args=(new,), daemon=True)
            new.thread.start()

    def _stop_run(self, preempted: bool) -> bool:
        with self._lock:
            old = self._run
        if old is None or old.thread is None:
            return False
        old.preempted = preempted
        old.canceled.set()
        self._end_goal(old)
        old.thread.join(timeout=10.0)
        return True

    def _work(self, current: Run) -> None:
        assert self._loop is not None
        review = current.mode == ExecuteInstruction.Goal.REVIEW
        outcome = self._loop.run(
            current.instruction, current.canceled, current.max_duration, review
        )
        self._end_goal(current)
        with self._lock:
            if self._run is current:
                self._run = None
        failed = outcome.outcome in (Outcome.SENSOR_LOST, Outcome.POLICY_ERROR)
        if failed:
            self.get_logger().error(f"goal ended: {outcome.message}; the arm holds")
        self._say(PolicyStatus.FAULT if failed else PolicyStatus.IDLE, outcome.message)
        if current.result is not None:
            current.result.set_result(_result(outcome, current.preempted))

    # The operator

    def _steer(self, sketch: Sketch, preempt: bool) -> None:
        with self._lock:
            self._desk.steer(sketch, preempt)
            if preempt and self._run is not None:
                now = self.get_clock().now().to_msg()
                self._send_chunk(self._run, NO_ROWS, now, self._status.chunk_id)

    def _steering_changed(self) -> None:
        status = self._status
        self._say(status.phase, status.detail)

    # Sink of the goal loop: called from its thread.

    def on_waiting(self, detail: str) -> None:
        if self._status.detail != detail and self._status.phase != PolicyStatus.WAITING_FOR_DATA:
            self.get_logger().warning(f"holding: {detail}")
        self._say(PolicyStatus.WAITING_FOR_DATA, detail)

    def on_thinking(self, observation: Observation) -> None:
        self._status.observation_age = float(self.now() - observation.stamp)
        self._say(PolicyStatus.THINKING, "thinking")

    def on_plan(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        self._planned = chunk_id
        self._publish_thought(chunk_id, observation, thought)
        words = "a plan waits: approve it, think again or reject it"
        self._say(PolicyStatus.AWAITING_APPROVAL, words, chunk_id)

    def on_thought(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        with self._lock:
            current = self._run
            if current is None or current.canceled.is_set() or self._desk.interrupted():
                return
            shadow = current.mode == ExecuteInstruction.Goal.SHADOW
            if not shadow:
                stamp = self._header(observation).stamp
                self._send_chunk(current, thought.actions, stamp, chunk_id)
        if chunk_id != self._planned:
            self._publish_thought(chunk_id, observation, thought)
        detail = "following your path" if thought.steered else "following the plan"
        if shadow:
            detail = "shadow: thinking and drawing, the arm holds"
        self._say(PolicyStatus.EXECUTING, detail, chunk_id)

    def _publish_thought(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        header = self._header(observation)
        message = convert.reasoning_message(
            chunk_id,
            observation,
            thought,
            header=header,
            model=self._policy.description,
            period=self._period,
            frame=self._base,
        )
        if observation.steering is not None:
            # What was drawn on the picture; the model itself answers with actions only.
            message.steered = True
            height, width = observation.images[0].shape[:2]
            message.trace = convert.trace_message(
                observation.steering.tolist(),
                header,
                source=VisualTrace.SOURCE_HUMAN,
                image_width=width,
                image_height=height,
            )
        self._reasoning.publish(message)
        self._status.rows = len(thought.actions)
        self._status.inference_time = sum(s for _, s in convert.stages(thought))
        current = self._run
        if current is not None and current.handle is not None:
            feedback = ExecuteInstruction.Feedback(status=self._status, trace=message.trace)
            current.handle.publish_feedback(feedback)

    def on_refused(self, chunk_id: int, observation: Observation, refusal: ThoughtRefused) -> None:
        with self._lock:
            if self._run is not None:
                self._send_chunk(self._run, NO_ROWS, self._header(observation).stamp, chunk_id)
        self._reasoning.publish(
            Reasoning(
                header=self._header(observation),
                chunk_id=chunk_id,
                instruction=observation.instruction,
                model=self._policy.description,
                refused=True,
                refusal=refusal.reason,
                text=refusal.text,
            )
        )
        self.get_logger().warning(f"thought {chunk_id} refused: {refusal.reason}; the arm holds")
        self._say(PolicyStatus.FAULT, f"thought refused: {refusal.reason}", chunk_id)

    # Messages

    def _header(self, observation: Observation) -> Header:
        return Header(
            stamp=convert.to_time(observation.stamp), frame_id="external_color_optical_frame"
        )

    def _send_chunk(self, current: Run, rows: Floats, stamp: Time, chunk_id: int) -> None:
        self._chunks.publish(
            convert.chunk_command(current.goal_id, chunk_id, stamp, self._base, rows, self._period)
        )

    def _end_goal(self, current: Run) -> None:
        now = self.get_clock().now().to_msg()
        self._chunks.publish(
            convert.chunk_command(
                current.goal_id, 0, now, self._base, NO_ROWS, self._period, final=True
            )
        )

    def _say(self, phase: int, detail: str, chunk_id: int | None = None) -> None:
        with self._lock:
            status = self._status
            status.header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._base)
            status.phase, status.detail = phase, detail
            status.instruction = self._run.instruction if self._run else ""
            status.mode = self._run.mode if self._run else MODES[str(self.value("mode"))]
            status.steering_active = self._desk.sketch is not None
            if chunk_id is not None:
                status.chunk_id = chunk_id
            self._status_pub.publish(status)


def _result(outcome: GoalResult, preempted: bool) -> ExecuteInstruction.Result:
    reasons = {
        Outcome.FINISHED: ExecuteInstruction.Result.FINISHED,
        Outcome.CANCELED: ExecuteInstruction.Result.CANCELED,
        Outcome.TIMED_OUT: ExecuteInstruction.Result.TIMED_OUT,
        Outcome.SENSOR_LOST: ExecuteInstruction.Result.SENSOR_LOST,
        Outcome.POLICY_ERROR: ExecuteInstruction.Result.POLICY_ERROR,
    }
    return ExecuteInstruction.Result(
        reason=ExecuteInstruction.Result.PREEMPTED if preempted else reasons[outcome.outcome],
        message=outcome.message,
        chunks=outcome.chunks,
        elapsed=convert.to_duration(outcome.elapsed),
    )


def main() -> None:
    run(PolicyNode)


if __name__ == "__main__":
    main()
