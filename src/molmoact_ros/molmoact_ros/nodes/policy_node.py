"""The policy node: images and an instruction in; reasoning, status and chunks out.

It never moves anything itself: in AUTO it hands chunks to the commander, in REVIEW only those a
person approved, in SHADOW it only publishes what it thinks. A refused answer, an error or a path
drawn in between sends an empty chunk, which is HOLD.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace

from molmoact_msgs.action import ExecuteInstruction
from molmoact_msgs.msg import PolicyStatus
from molmoact_msgs.srv import StartInstruction
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.inputs import ObservationInputs
from molmoact_ros.nodes.policy_operator import OperatorServices
from molmoact_ros.nodes.policy_parameters import (
    declare_policy,
    goal_settings,
    policy_spec,
    robot_description,
    slots,
)
from molmoact_ros.nodes.policy_voice import NO_ROWS, PolicyVoice, progress
from molmoact_ros.nodes.runtime import ERROR, OK, WARN, ManagedNode, SetupError, run
from molmoact_ros.policy.base import Observation, PolicyError, Segment
from molmoact_ros.policy.factory import make_policy
from molmoact_ros.policy.goal import GoalLoop, GoalResult, Outcome
from molmoact_ros.policy.observations import ObservationBuffer
from molmoact_ros.policy.operator_desk import OperatorDesk
from molmoact_ros.policy.startup_checks import in_one_sentence, startup_refusals
from molmoact_ros.reasoning.prompts import BadInstruction, check_instruction
from molmoact_ros.reasoning.sketch import BadSketch, Sketch
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

MODES = {
    "auto": ExecuteInstruction.Goal.AUTO,
    "review": ExecuteInstruction.Goal.REVIEW,
    "shadow": ExecuteInstruction.Goal.SHADOW,
}
PROGRESS_S = 0.5
"""Seconds between two words about a thought under way."""


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
        declare_policy(self, list(MODES))
        self._lock = threading.RLock()
        self._run: Run | None = None
        self._voice: PolicyVoice | None = None
        self._loop: GoalLoop | None = None
        self._planned = 0
        self._said = 0.0

    def setup(self) -> None:
        if self.value("mode") not in MODES:
            raise SetupError(f"mode '{self.value('mode')}': choose one of {', '.join(MODES)}")
        self._robot = robot_description(self)
        spec = policy_spec(self, self._robot)
        try:
            self._policy = make_policy(spec)
        except (PolicyError, OSError, ValueError) as error:
            raise SetupError(f"policy '{spec.kind}' cannot start: {error}") from error
        base, cameras = str(self.value("base_frame")), slots(self)
        self._buffer = ObservationBuffer(
            cameras,
            max_age=float(self.value("max_image_age")),
            needs_geometry=self._policy.needs_geometry,
        )
        settings = goal_settings(self)
        self._desk = OperatorDesk(self.now)
        self._loop = GoalLoop(self._policy, self._buffer, self, settings, self.now, self._desk)
        self._voice = PolicyVoice(self, self._policy.description, base, settings.period)
        self._inputs = ObservationInputs(self, self._buffer, cameras, base)
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
        if self._voice is None:
            return OK, "not configured yet", {}
        status = self._voice.status
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
        self.voice.end_goal(old.goal_id)
        old.thread.join(timeout=10.0)
        return True

    def _work(self, current: Run) -> None:
        assert self._loop is not None
        review = current.mode == ExecuteInstruction.Goal.REVIEW
        shadow = current.mode == ExecuteInstruction.Goal.SHADOW
        outcome = self._loop.run(
            current.instruction, current.canceled, current.max_duration, review, shadow
        )
        self.voice.end_goal(current.goal_id)
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
                chunk_id = self.voice.status.chunk_id
                self.voice.chunk(self._run.goal_id, NO_ROWS, None, chunk_id)

    def _steering_changed(self) -> None:
        status = self.voice.status
        self._say(status.phase, status.detail)

    # Sink of the goal loop: called from its thread.

    def on_waiting(self, detail: str) -> None:
        status = self.voice.status
        if status.detail != detail and status.phase != PolicyStatus.WAITING_FOR_DATA:
            self.get_logger().warning(f"holding: {detail}")
        self._say(PolicyStatus.WAITING_FOR_DATA, detail)

    def on_thinking(self, observation: Observation) -> None:
        self.voice.status.observation_age = float(self.now() - observation.stamp)
        self._said = self.now()
        self._say(PolicyStatus.THINKING, "thinking")

    def on_segment(self, segment: Segment) -> None:
        # Fast thoughts need no running commentary.
        if self.now() - self._said > PROGRESS_S:
            self._said = self.now()
            self._say(PolicyStatus.THINKING, progress(segment))

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
                self.voice.chunk(current.goal_id, thought.actions, observation, chunk_id)
        if chunk_id != self._planned:
            self._publish_thought(chunk_id, observation, thought)
        detail = "following your path" if thought.steered else "following the plan"
        if shadow:
            detail = "shadow: thinking and drawing, the arm holds"
        self._say(PolicyStatus.EXECUTING, detail, chunk_id)

    def _publish_thought(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        message = self.voice.thought(chunk_id, observation, thought)
        current = self._run
        if current is not None and current.handle is not None:
            feedback = ExecuteInstruction.Feedback(status=self.voice.status, trace=message.trace)
            current.handle.publish_feedback(feedback)

    def on_refused(self, chunk_id: int, observation: Observation, refusal: ThoughtRefused) -> None:
        with self._lock:
            if self._run is not None:
                self.voice.chunk(self._run.goal_id, NO_ROWS, observation, chunk_id)
        self.voice.refusal(chunk_id, observation, refusal)
        self.get_logger().warning(f"thought {chunk_id} refused: {refusal.reason}; the arm holds")
        self._say(PolicyStatus.FAULT, f"thought refused: {refusal.reason}", chunk_id)

    # Words

    @property
    def voice(self) -> PolicyVoice:
        """There since ``setup``."""
        assert self._voice is not None
        return self._voice

    def _say(self, phase: int, detail: str, chunk_id: int | None = None) -> None:
        with self._lock:
            current = self._run
            self.voice.say(
                phase,
                detail,
                chunk_id,
                instruction=current.instruction if current else "",
                mode=current.mode if current else MODES[str(self.value("mode"))],
                steering_active=self._desk.sketch is not None,
            )


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
