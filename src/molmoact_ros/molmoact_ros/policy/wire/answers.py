"""What a policy server answers. Both ends read it strictly: a chunk moves a real arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from molmoact_ros.policy.base import Segment
from molmoact_ros.policy.startup_checks import ModelDescription
from molmoact_ros.policy.wire import fields
from molmoact_ros.policy.wire.codec import WireError
from molmoact_ros.reasoning.segments import MAX_CHARACTERS
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

MAX_TRACE_POINTS = 5
MAX_DEPTH_CODE = 127
NO_ID = -1
"""Of an ``error`` that belongs to no request."""


@dataclass(frozen=True)
class Ready:
    """The robot's expectation fits."""


@dataclass(frozen=True)
class ResetDone:
    id: int


@dataclass(frozen=True, eq=False)
class Part:
    """A segment of thought ``id``, while the rest is being decoded."""

    id: int
    segment: Segment


@dataclass(frozen=True, eq=False)
class Thinking:
    """The whole thought ``id``."""

    id: int
    thought: Thought


@dataclass(frozen=True)
class Refused:
    """The model answered ``id`` with something that must not become a motion."""

    id: int
    refusal: ThoughtRefused


@dataclass(frozen=True)
class Failed:
    """The policy could not carry out ``id`` at all."""

    id: int
    message: str


@dataclass(frozen=True)
class Complaint:
    """A message of the robot was not understood, or came at the wrong time."""

    id: int
    message: str


Answer = Ready | ResetDone | Part | Thinking | Refused | Failed | Complaint


def answer_to_wire(answer: Answer) -> dict[str, Any]:
    """A message."""
    if isinstance(answer, Ready):
        return {"type": "ready"}
    if isinstance(answer, ResetDone):
        return {"type": "reset_done", "id": answer.id}
    if isinstance(answer, Part):
        part = answer.segment
        return {
            "type": "segment",
            "id": answer.id,
            "kind": part.kind,
            "index": part.index,
            "values": part.values,
        }
    if isinstance(answer, Thinking):
        thought = answer.thought
        return {
            "type": "thought",
            "id": answer.id,
            "text": thought.text,
            "depth": thought.depth,
            "trace": np.asarray(thought.trace, np.float32),
            "actions": np.asarray(thought.actions, np.float64),
            "steered": thought.steered,
            "timings": {name: float(value) for name, value in thought.timings.items()},
        }
    if isinstance(answer, Refused):
        return {
            "type": "refused",
            "id": answer.id,
            "reason": answer.refusal.reason[: fields.MAX_WORDS],
            "text": answer.refusal.text[:MAX_CHARACTERS],
        }
    kind = "failed" if isinstance(answer, Failed) else "error"
    return {"type": kind, "id": answer.id, "message": answer.message[: fields.MAX_WORDS]}


def read_answer(message: Mapping[str, Any], model: ModelDescription) -> Answer:
    """The answer in a message, checked against the announced chunk. Raises WireError."""
    kind = message.get("type")
    if kind == "ready":
        return Ready()
    if kind == "error":
        return Complaint(fields.whole(message, "id", NO_ID), fields.text(message, "message"))
    number = fields.whole(message, "id")
    if kind == "reset_done":
        return ResetDone(number)
    if kind == "failed":
        return Failed(number, fields.text(message, "message"))
    if kind == "refused":
        text = fields.text(message, "text", MAX_CHARACTERS)
        return Refused(number, ThoughtRefused(fields.text(message, "reason"), text))
    if kind == "segment":
        return Part(number, _segment(message, model))
    if kind == "thought":
        return Thinking(number, _thought(message, model))
    raise WireError(f"a message of type {str(kind)[:40]!r} came; use a server of this version")


def _thought(message: Mapping[str, Any], model: ModelDescription) -> Thought:
    depth = None
    if message.get("depth") is not None:
        depth = _depth(message, "depth")
    return Thought(
        text=fields.text(message, "text", MAX_CHARACTERS),
        depth=depth,
        trace=_trace(message, "trace"),
        actions=fields.array(message, "actions", "float64", (model.rows, model.dims)),
        steered=fields.flag(message, "steered"),
        timings=fields.seconds(message, "timings"),
    )


def _segment(message: Mapping[str, Any], model: ModelDescription) -> Segment:
    kind = fields.text(message, "kind")
    index = fields.whole(message, "index", 0, model.rows - 1)
    if kind == "depth":
        values = _depth(message, "values")
    elif kind == "trace":
        values = _trace(message, "values")
    elif kind == "row":
        values = fields.array(message, "values", "float64", (model.dims,))
    else:
        raise WireError(f"a segment of kind {kind[:40]!r} came; use a server of this version")
    return Segment(cast(Literal["depth", "trace", "row"], kind), index, values)


def _depth(message: Mapping[str, Any], key: str) -> Any:
    depth = fields.array(message, key, "uint8", (None, None))
    if not depth.size or depth.max() > MAX_DEPTH_CODE:
        raise WireError(f"field {key!r} holds no depth codes 0..{MAX_DEPTH_CODE}; check the server")
    return depth


def _trace(message: Mapping[str, Any], key: str) -> Any:
    trace = fields.array(message, key, "float32", (None, 2))
    if len(trace) > MAX_TRACE_POINTS or (trace.size and (trace.min() < 0 or trace.max() > 255)):
        raise WireError(
            f"field {key!r} has {len(trace)} points or leaves 0..255; check the server's model"
        )
    return trace
