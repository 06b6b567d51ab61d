"""Goals of the policy node: one at a time, each in a thread, and who is told when it ends."""

from __future__ import annotations

import threading
import uuid

from molmoact_msgs.action import ExecuteInstruction
from molmoact_msgs.msg import PolicyStatus
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.policy_voice import NO_ROWS, PolicyVoice
from molmoact_ros.nodes.runtime import ManagedNode
from molmoact_ros.policy.goal import GoalLoop, GoalResult, Outcome
from molmoact_ros.policy.operator_desk import OperatorDesk
from molmoact_ros.reasoning.sketch import Sketch

Goal = ExecuteInstruction.Goal


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


class Runs:
    """Starts and ends goals. ``loop`` has to be set before the first one begins."""

    def __init__(
        self, node: ManagedNode, voice: PolicyVoice, desk: OperatorDesk, idle_mode: int
    ) -> None:
        self._node, self._voice, self._desk, self._idle_mode = node, voice, desk, idle_mode
        self.lock = threading.RLock()
        self.current: Run | None = None
        self.loop: GoalLoop | None = None

    def begin(self, new: Run) -> None:
        """Start ``new``; what runs is preempted."""
        self.stop(preempted=True)
        with self.lock:
            self.current = new
            if new.sketch is not None:
                self._desk.steer(new.sketch, preempt=False)
            new.thread = threading.Thread(target=self._work, args=(new,), daemon=True)
            new.thread.start()

    def stop(self, preempted: bool) -> bool:
        """End what runs; whether there was something."""
        with self.lock:
            old = self.current
        if old is None or old.thread is None:
            return False
        old.preempted = preempted
        old.canceled.set()
        self._voice.end_goal(old.goal_id)
        old.thread.join(timeout=10.0)
        return True

    def cancel(self, handle: ServerGoalHandle) -> None:
        """The action's client gave up on this goal."""
        with self.lock:
            if self.current is not None and self.current.handle is handle:
                self.current.canceled.set()

    def steer(self, sketch: Sketch, preempt: bool) -> None:
        """Follow a drawn path; preempt: what is being driven ends at once."""
        with self.lock:
            self._desk.steer(sketch, preempt)
            if preempt and self.current is not None:
                chunk_id = self._voice.status.chunk_id
                self._voice.chunk(self.current.goal_id, NO_ROWS, None, chunk_id)

    def say(self, phase: int, detail: str, chunk_id: int | None = None) -> None:
        """The status, with what belongs to the goal under way."""
        with self.lock:
            current = self.current
            self._voice.say(
                phase,
                detail,
                chunk_id,
                instruction=current.instruction if current else "",
                mode=current.mode if current else self._idle_mode,
                steering_active=self._desk.sketch is not None,
            )

    def say_again(self) -> None:
        """The same words; something beside them has changed."""
        self.say(self._voice.status.phase, self._voice.status.detail)

    def _work(self, run: Run) -> None:
        assert self.loop is not None
        review, shadow = run.mode == Goal.REVIEW, run.mode == Goal.SHADOW
        outcome = self.loop.run(run.instruction, run.canceled, run.max_duration, review, shadow)
        self._voice.end_goal(run.goal_id)
        with self.lock:
            if self.current is run:
                self.current = None
        failed = outcome.outcome in (Outcome.SENSOR_LOST, Outcome.POLICY_ERROR)
        if failed:
            self._node.get_logger().error(f"goal ended: {outcome.message}; the arm holds")
        self.say(PolicyStatus.FAULT if failed else PolicyStatus.IDLE, outcome.message)
        if run.result is not None:
            run.result.set_result(_result(outcome, run.preempted))


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
