"""The policy node: images and an instruction in; reasoning, status and chunks out.

It never moves anything itself: in AUTO it hands chunks to the commander, in REVIEW only those a
person approved, in SHADOW it only publishes what it thinks. A refused answer, an error or a path
drawn in between sends an empty chunk, which is HOLD.
"""

from __future__ import annotations

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
from molmoact_ros.nodes.policy_runs import Run, Runs
from molmoact_ros.nodes.policy_sink import ThoughtSink
from molmoact_ros.nodes.policy_voice import PolicyVoice
from molmoact_ros.nodes.runtime import ERROR, OK, WARN, ManagedNode, SetupError, run
from molmoact_ros.policy.base import PolicyError, PreparingPolicy
from molmoact_ros.policy.factory import make_policy
from molmoact_ros.policy.goal import GoalLoop
from molmoact_ros.policy.observations import ObservationBuffer
from molmoact_ros.policy.operator_desk import OperatorDesk
from molmoact_ros.policy.startup_checks import in_one_sentence, startup_refusals
from molmoact_ros.reasoning.prompts import BadInstruction, check_instruction
from molmoact_ros.reasoning.sketch import BadSketch

MODES = {
    "auto": ExecuteInstruction.Goal.AUTO,
    "review": ExecuteInstruction.Goal.REVIEW,
    "shadow": ExecuteInstruction.Goal.SHADOW,
}


class PolicyNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("policy")
        declare_policy(self, list(MODES))
        self._voice: PolicyVoice | None = None
        self._runs: Runs | None = None

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
        voice = PolicyVoice(self, self._policy, base, settings.period)
        runs = Runs(self, voice, self._desk, MODES[str(self.value("mode"))])
        sink = ThoughtSink(self, voice, runs, self._desk)
        runs.loop = GoalLoop(self._policy, self._buffer, sink, settings, self.now, self._desk)
        self._voice, self._runs = voice, runs
        self._inputs = ObservationInputs(self, self._buffer, cameras, base, self._prepare)
        self._actions = ActionServer(
            self,
            ExecuteInstruction,
            "~/execute_instruction",
            execute_callback=self._execute,
            goal_callback=self._accept,
            cancel_callback=self._accept_cancel,
        )
        self._operator = OperatorServices(
            self, self._desk, self._buffer, runs.steer, runs.say_again
        )
        self.create_service(StartInstruction, "~/start", self._start_service)
        self.create_service(Trigger, "~/cancel", self._cancel_service)
        self.get_logger().info(f"policy: {self._policy.description}")
        runs.say(PolicyStatus.IDLE, "ready: give an instruction")

    def _prepare(self) -> None:
        """Pictures get ready while the last thought is still being decoded."""
        if isinstance(self._policy, PreparingPolicy) and self.runs.current is not None:
            pictures = self._buffer.newest_pictures()
            if pictures is not None:
                self._policy.prepare(pictures)

    def start(self) -> None:
        instruction = str(self.value("instruction"))
        if instruction:
            self.runs.begin(Run(instruction, MODES[str(self.value("mode"))], 0.0))

    def halt(self) -> None:
        if self._runs is not None:
            self._runs.stop(preempted=False)

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

    def _accept(self, goal: ExecuteInstruction.Goal) -> GoalResponse:
        problem = self._problem_with(goal.instruction, goal.mode)
        try:
            if goal.trace.points:
                self._operator.sketch_from(goal.trace, until_cleared=True)
        except BadSketch as bad:
            problem = problem or str(bad)
        if problem:
            self.get_logger().error(f"goal refused: {problem}")
            self.runs.say(PolicyStatus.IDLE, problem)
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _accept_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self.runs.cancel(handle)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteInstruction.Result:
        goal = handle.request
        new = Run(goal.instruction, goal.mode, convert.seconds(goal.max_duration))
        new.handle, new.result = handle, Future(executor=self.executor)
        if goal.trace.points:
            new.sketch = self._operator.sketch_from(goal.trace, until_cleared=True)
        self.runs.begin(new)
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
            self.runs.begin(Run(request.instruction, request.mode, 0.0))
        response.accepted = not problem
        response.message = problem or f"thinking about: {request.instruction}"
        return response

    def _cancel_service(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success = self.runs.stop(preempted=False)
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

    @property
    def runs(self) -> Runs:
        """There since ``setup``."""
        assert self._runs is not None
        return self._runs


def main() -> None:
    run(PolicyNode)


if __name__ == "__main__":
    main()
