"""One goal, from instruction to result: observe, think, hand on, think again in time.

The loop owns the policy object and runs in one thread. It never moves anything: thoughts go
to a sink, and an error of any kind ends in words and HOLD. A person may draw a path or be asked
before each chunk, see ``operator_desk``.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from molmoact_ros.policy.base import Observation, Policy, PolicyError, Segment, think_streaming
from molmoact_ros.policy.driving import DrivenRows
from molmoact_ros.policy.observations import NotReady, ObservationBuffer
from molmoact_ros.policy.operator_desk import Decision, OperatorDesk
from molmoact_ros.policy.pace import GoalSettings as GoalSettings
from molmoact_ros.policy.pace import Pace
from molmoact_ros.policy.path_ahead import PathAhead
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

log = logging.getLogger(__name__)

POLL_S = 0.005
STILL_MOTION = 2e-3
"""Metres (or radians) that all rows of a chunk together may move and still count as rest."""


class Outcome(enum.Enum):
    """Why a goal ended."""

    FINISHED = "finished"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    SENSOR_LOST = "sensor_lost"
    POLICY_ERROR = "policy_error"


@dataclass(frozen=True)
class GoalResult:
    outcome: Outcome
    message: str
    chunks: int
    elapsed: float


class Sink(Protocol):
    """Where thoughts and words go; called from the goal's thread."""

    def on_waiting(self, detail: str) -> None: ...
    def on_thinking(self, observation: Observation) -> None: ...
    def on_segment(self, segment: Segment) -> None:
        """A part of the thought that is being made; for watching, never for moving."""
        ...

    def on_plan(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        """A thought that waits for approval; ``on_thought`` follows when it is given."""
        ...

    def on_thought(self, chunk_id: int, observation: Observation, thought: Thought) -> None: ...
    def on_refused(
        self, chunk_id: int, observation: Observation, refusal: ThoughtRefused
    ) -> None: ...


class GoalLoop:
    """Runs goals one after another for one policy. ``now`` gives seconds of the sensors' clock."""

    def __init__(
        self,
        policy: Policy,
        buffer: ObservationBuffer,
        sink: Sink,
        settings: GoalSettings,
        now: Callable[[], float] = time.time,
        desk: OperatorDesk | None = None,
    ) -> None:
        self._desk = desk or OperatorDesk(now)
        self._policy = policy
        self._buffer = buffer
        self._sink = sink
        self._settings = settings
        self._now = now
        self._chunk_id = 0

    def run(
        self,
        instruction: str,
        canceled: threading.Event,
        max_duration: float = 0.0,
        review: bool = False,
        shadow: bool = False,
    ) -> GoalResult:
        """Think until canceled, finished, out of time (seconds; 0: no limit) or failed.

        review: a person approves every chunk before it is handed on. shadow: nothing is driven.
        """
        self._desk.begin()
        try:
            return self._run(instruction, canceled, max_duration, review, shadow)
        finally:
            self._desk.end()

    def _run(
        self,
        instruction: str,
        canceled: threading.Event,
        max_duration: float,
        review: bool,
        shadow: bool,
    ) -> GoalResult:
        start = self._now()
        chunks = 0

        def result(outcome: Outcome, message: str) -> GoalResult:
            return GoalResult(outcome, message, chunks, self._now() - start)

        try:
            self._policy.reset(instruction)
        except PolicyError as error:
            return result(Outcome.POLICY_ERROR, str(error))
        pace, driven = Pace(self._settings), DrivenRows(self._settings.period)
        ahead = PathAhead()
        thinking = 0.0
        last_stamp, refusals, rest_since = 0.0, 0, 0.0
        gripper: float | None = None
        sensors_ok = start

        def useless() -> bool:
            return canceled.is_set() or self._desk.interrupted()

        while True:
            if self._desk.interrupted():
                # What was thought before the path was drawn is of no use, nor is its image.
                when = self._desk.take_interrupt()
                pace.interrupted(when)
                driven.stopped(when)
                last_stamp = max(last_stamp, pace.look_after)
            now = self._now()
            if canceled.is_set():
                return result(Outcome.CANCELED, "canceled; the arm holds")
            if max_duration and now - start > max_duration:
                return result(Outcome.TIMED_OUT, f"stopped after {max_duration:.0f} s as asked")
            if now < pace.think_at:
                canceled.wait(min(POLL_S, pace.think_at - now))
                continue
            try:
                observation = self._buffer.build(now, instruction, newer_than=last_stamp)
            except NotReady as missing:
                if now - sensors_ok > self._settings.sensor_timeout:
                    return result(Outcome.SENSOR_LOST, str(missing))
                if now - sensors_ok > 0.5:
                    self._sink.on_waiting(str(missing))
                canceled.wait(POLL_S)
                continue
            sensors_ok, last_stamp = now, observation.stamp
            self._chunk_id += 1
            observation = replace(observation, driving=driven.at(last_stamp, thinking))
            sketch = self._desk.sketch
            if sketch is not None:
                # A policy that knows the geometry follows the whole path by itself.
                whole = self._policy.needs_geometry
                points = sketch.points if whole else ahead.seen(observation, sketch.points)
                observation = replace(observation, steering=points)
            self._sink.on_thinking(observation)
            try:
                thought = think_streaming(self._policy, observation, useless, self._sink.on_segment)
            except ThoughtRefused as refusal:
                if useless():
                    continue
                refusals += 1
                driven.stopped(self._now())
                self._sink.on_refused(self._chunk_id, observation, refusal)
                if refusals >= self._settings.max_refusals:
                    return result(
                        Outcome.POLICY_ERROR,
                        f"{refusals} answers in a row were refused, the last because "
                        f"{refusal.reason}; the arm holds",
                    )
                continue
            except PolicyError as error:
                return result(Outcome.POLICY_ERROR, str(error))
            except Exception as error:  # a bug in a policy must end in HOLD, never in silence
                log.exception("the policy failed")
                return result(
                    Outcome.POLICY_ERROR,
                    f"the policy failed with {type(error).__name__}: {error}; see the log",
                )
            if useless():
                continue  # a thought that outlived its goal or was drawn over is thrown away
            refusals, thinking = 0, self._now() - now
            # The end of a drawn path is no end of the task: the person may draw or clear.
            resting = sketch is None and _is_rest(thought, gripper)
            asked = review and not (resting and gripper is not None)
            if asked:
                self._sink.on_plan(self._chunk_id, observation, thought)
                decision = self._desk.ask(self._chunk_id, canceled.is_set)
                if decision is Decision.REJECT:
                    return result(Outcome.CANCELED, "rejected by the operator; the arm holds")
                if decision is not Decision.APPROVE:
                    last_stamp = max(last_stamp, self._now())
                    continue
            chunks += 1
            if sketch is not None:
                self._desk.used(sketch)
            self._sink.on_thought(self._chunk_id, observation, thought)
            done = self._now()
            begin = pace.accepted(observation.stamp, done, len(thought.actions))
            if not shadow:
                driven.accepted(thought.actions, begin, observation.stamp)
            if asked or (sketch is not None and not sketch.until_cleared):
                pace.run_whole(settle=asked)
            last_stamp = max(last_stamp, pace.look_after)
            gripper = float(thought.actions[-1, -1])
            if not resting:
                rest_since = 0.0
            elif not rest_since:
                rest_since = done
            limit = self._settings.finish_after_rest
            if limit and rest_since and done - rest_since > limit:
                return result(Outcome.FINISHED, "the policy asks for no more motion")


def _is_rest(thought: Thought, gripper: float | None) -> bool:
    moved = float(np.abs(thought.actions[:, :-1]).sum(axis=0).max())
    last = float(thought.actions[-1, -1])
    return moved < STILL_MOTION and (gripper is None or (last >= 0.5) == (gripper >= 0.5))
