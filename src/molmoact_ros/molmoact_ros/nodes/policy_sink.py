"""What becomes of a thought: a chunk for the commander, messages for everybody else."""

from __future__ import annotations

from molmoact_msgs.action import ExecuteInstruction
from molmoact_msgs.msg import PolicyStatus

from molmoact_ros.nodes.policy_runs import Goal, Runs
from molmoact_ros.nodes.policy_voice import NO_ROWS, PolicyVoice, progress
from molmoact_ros.nodes.runtime import ManagedNode
from molmoact_ros.policy.base import Observation, Segment
from molmoact_ros.policy.operator_desk import OperatorDesk
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

PROGRESS_S = 0.5
"""Seconds between two words about a thought under way."""


class ThoughtSink:
    """The Sink of ``policy.goal``; called from the goal's thread."""

    def __init__(
        self, node: ManagedNode, voice: PolicyVoice, runs: Runs, desk: OperatorDesk
    ) -> None:
        self._node, self._voice, self._runs, self._desk = node, voice, runs, desk
        self._planned = 0
        self._said = 0.0

    def on_waiting(self, detail: str) -> None:
        status = self._voice.status
        if status.detail != detail and status.phase != PolicyStatus.WAITING_FOR_DATA:
            self._node.get_logger().warning(f"holding: {detail}")
        self._runs.say(PolicyStatus.WAITING_FOR_DATA, detail)

    def on_thinking(self, observation: Observation) -> None:
        self._said = self._node.now()
        self._voice.status.observation_age = float(self._said - observation.stamp)
        self._runs.say(PolicyStatus.THINKING, "thinking")

    def on_segment(self, segment: Segment) -> None:
        # Fast thoughts need no running commentary.
        if self._node.now() - self._said > PROGRESS_S:
            self._said = self._node.now()
            self._runs.say(PolicyStatus.THINKING, progress(segment))

    def on_plan(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        self._planned = chunk_id
        self._publish(chunk_id, observation, thought)
        words = "a plan waits: approve it, think again or reject it"
        self._runs.say(PolicyStatus.AWAITING_APPROVAL, words, chunk_id)

    def on_thought(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        with self._runs.lock:
            current = self._runs.current
            if current is None or current.canceled.is_set() or self._desk.interrupted():
                return
            shadow = current.mode == Goal.SHADOW
            if not shadow:
                self._voice.chunk(current.goal_id, thought.actions, observation, chunk_id)
        if chunk_id != self._planned:
            self._publish(chunk_id, observation, thought)
        detail = "following your path" if thought.steered else "following the plan"
        if shadow:
            detail = "shadow: thinking and drawing, the arm holds"
        self._runs.say(PolicyStatus.EXECUTING, detail, chunk_id)

    def on_refused(self, chunk_id: int, observation: Observation, refusal: ThoughtRefused) -> None:
        with self._runs.lock:
            if self._runs.current is not None:
                self._voice.chunk(self._runs.current.goal_id, NO_ROWS, observation, chunk_id)
        self._voice.refusal(chunk_id, observation, refusal)
        self._node.get_logger().warning(
            f"thought {chunk_id} refused: {refusal.reason}; the arm holds"
        )
        self._runs.say(PolicyStatus.FAULT, f"thought refused: {refusal.reason}", chunk_id)

    def _publish(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        message = self._voice.thought(chunk_id, observation, thought)
        current = self._runs.current
        if current is not None and current.handle is not None:
            feedback = ExecuteInstruction.Feedback(status=self._voice.status, trace=message.trace)
            current.handle.publish_feedback(feedback)
