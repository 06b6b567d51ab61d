"""What the policy node says: thoughts, chunks and its status, in messages."""

from __future__ import annotations

import threading

import numpy as np
from builtin_interfaces.msg import Time
from molmoact_msgs.msg import (
    ChunkCommand,
    DepthTokens,
    PolicyStatus,
    Reasoning,
    StageTiming,
    VisualTrace,
)
from std_msgs.msg import Header

from molmoact_ros.geometry import Floats
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import COMMAND_QOS, LATCHED_QOS, ManagedNode
from molmoact_ros.policy.base import Observation, Policy, Segment
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

OPTICAL_FRAME = "external_color_optical_frame"
NO_ROWS = np.zeros((0, 7))


class PolicyVoice:
    """Publishers of one policy node. ``base``: frame of chunks."""

    def __init__(self, node: ManagedNode, policy: Policy, base: str, period: float) -> None:
        self._node, self._policy, self._base, self._period = node, policy, base, period
        self._model = policy.description
        self._lock = threading.RLock()
        self.status = PolicyStatus(detail="starting")
        self._reasoning = node.create_publisher(Reasoning, "~/reasoning", LATCHED_QOS)
        self._chunks = node.create_publisher(ChunkCommand, "~/chunk", COMMAND_QOS)
        self._status_pub = node.create_publisher(PolicyStatus, "~/status", LATCHED_QOS)

    def say(self, phase: int, detail: str, chunk_id: int | None = None, **fields: object) -> None:
        """Publish the status; ``fields`` change what else it holds."""
        with self._lock:
            status = self.status
            status.header = Header(stamp=self._now(), frame_id=self._base)
            status.phase, status.detail = phase, detail
            for name, value in fields.items():
                setattr(status, name, value)
            if chunk_id is not None:
                status.chunk_id = chunk_id
            self._status_pub.publish(status)

    def chunk(
        self, goal_id: str, rows: Floats, observation: Observation | None, chunk_id: int
    ) -> None:
        """Hand rows to the commander; without an observation they belong to now. No rows: HOLD."""
        stamp = self._now() if observation is None else self.header(observation).stamp
        self._send(goal_id, chunk_id, stamp, rows)

    def end_goal(self, goal_id: str) -> None:
        """The commander must take no chunk of this goal any more."""
        self._send(goal_id, 0, self._now(), NO_ROWS, final=True)

    def thought(self, chunk_id: int, observation: Observation, thought: Thought) -> Reasoning:
        """Publish a thought that may become a motion."""
        header = self.header(observation)
        message = _reasoning(
            chunk_id,
            observation,
            thought,
            header=header,
            model=self._model,
            codebook=self._policy.codebook,
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
        self.status.rows = len(thought.actions)
        self.status.inference_time = sum(s for _, s in _stages(thought))
        return message

    def refusal(self, chunk_id: int, observation: Observation, refusal: ThoughtRefused) -> None:
        """Publish an answer that became no thought, with its text."""
        self._reasoning.publish(
            Reasoning(
                header=self.header(observation),
                chunk_id=chunk_id,
                instruction=observation.instruction,
                model=self._model,
                refused=True,
                refusal=refusal.reason,
                text=refusal.text,
            )
        )

    def header(self, observation: Observation) -> Header:
        return Header(stamp=convert.to_time(observation.stamp), frame_id=OPTICAL_FRAME)

    def _send(
        self, goal_id: str, chunk_id: int, stamp: Time, rows: Floats, final: bool = False
    ) -> None:
        self._chunks.publish(
            convert.chunk_command(goal_id, chunk_id, stamp, self._base, rows, self._period, final)
        )

    def _now(self) -> Time:
        return self._node.get_clock().now().to_msg()


def progress(segment: Segment) -> str:
    """How far a thought has come, for the status."""
    if segment.kind == "row":
        return f"thinking: depth and trace are there, row {segment.index + 1} is written"
    return f"thinking: {'depth is' if segment.kind == 'depth' else 'depth and trace are'} there"


def _reasoning(
    chunk_id: int,
    observation: Observation,
    thought: Thought,
    *,
    header: Header,
    model: str,
    codebook: str,
    period: float,
    frame: str,
) -> Reasoning:
    height, width = observation.images[0].shape[:2]
    message = Reasoning(
        header=header,
        chunk_id=chunk_id,
        instruction=observation.instruction,
        steered=thought.steered,
        text=thought.text,
        model=model,
        trace=convert.trace_message(
            thought.trace.tolist(),
            header,
            source=VisualTrace.SOURCE_MODEL,
            image_width=width,
            image_height=height,
        ),
        actions=convert.chunk_message(thought.actions, period, frame),
        timings=[StageTiming(stage=k, seconds=float(v)) for k, v in _stages(thought)],
    )
    if thought.depth is not None:
        rows, cols = thought.depth.shape
        message.depth = DepthTokens(
            rows=rows,
            cols=cols,
            codebook_size=128,
            codes=thought.depth.ravel().tolist(),
            codebook=codebook,
        )
    return message


def _stages(thought: Thought) -> list[tuple[str, float]]:
    """Stage names and seconds; a policy's own "total" is no stage."""
    return [(name, value) for name, value in thought.timings.items() if name != "total"]
