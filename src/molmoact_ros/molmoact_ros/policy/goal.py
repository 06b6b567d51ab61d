"""One goal, from instruction to result: observe, think, hand on, think again in time.

The loop owns the policy object and runs in one thread. It never moves anything: thoughts go
to a sink, and an error of any kind ends in the sink's ``on_hold``.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from molmoact_ros.control.guards import Limits
from molmoact_ros.policy.base import Observation, Policy, PolicyError
from molmoact_ros.policy.observations import NotReady, ObservationBuffer
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

log = logging.getLogger(__name__)

POLL_S = 0.005
SETTLE_S = 0.25
"""Seconds the arm's controller needs to come to rest after the last row."""
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
class GoalSettings:
    """period: seconds a row. rethink_after_rows: think again when that row is reached.

    sensor_timeout: seconds without an observation before the goal ends.
    max_refusals: refused answers in a row before the goal ends.
    finish_after_rest: seconds of chunks without motion that mean "done"; 0 never.
    oldest_image: seconds from image to thought up to which the arm may move meanwhile. A slower
    policy looks again after its chunk has ended: the commander refuses a thought about an arm
    that has long been elsewhere.
    """

    period: float = 1.0 / 15.0
    rethink_after_rows: int = 4
    sensor_timeout: float = 10.0
    max_refusals: int = 5
    finish_after_rest: float = 3.0
    oldest_image: float = Limits().observation_age_s


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
    ) -> None:
        self._policy = policy
        self._buffer = buffer
        self._sink = sink
        self._settings = settings
        self._now = now
        self._chunk_id = 0

    def run(
        self, instruction: str, canceled: threading.Event, max_duration: float = 0.0
    ) -> GoalResult:
        """Think until canceled, finished, out of time (seconds; 0: no limit) or failed."""
        start = self._now()
        chunks = 0

        def result(outcome: Outcome, message: str) -> GoalResult:
            return GoalResult(outcome, message, chunks, self._now() - start)

        try:
            self._policy.reset(instruction)
        except PolicyError as error:
            return result(Outcome.POLICY_ERROR, str(error))
        pace = _Pace(self._settings)
        last_stamp, refusals, rest_since = 0.0, 0, 0.0
        gripper: float | None = None
        sensors_ok = start
        while True:
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
            self._sink.on_thinking(observation)
            try:
                thought = self._policy.think(observation, canceled.is_set)
            except ThoughtRefused as refusal:
                if canceled.is_set():
                    continue
                refusals += 1
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
            if canceled.is_set():
                continue  # a thought that outlived its goal is thrown away
            refusals = 0
            chunks += 1
            self._sink.on_thought(self._chunk_id, observation, thought)
            done = self._now()
            pace.accepted(observation.stamp, done, len(thought.actions))
            last_stamp = max(last_stamp, pace.look_after)
            resting = _is_rest(thought, gripper)
            gripper = float(thought.actions[-1, -1])
            if not resting:
                rest_since = 0.0
            elif not rest_since:
                rest_since = done
            limit = self._settings.finish_after_rest
            if limit and rest_since and done - rest_since > limit:
                return result(Outcome.FINISHED, "the policy asks for no more motion")


class _Pace:
    """When to think again: as row k of the running chunk is reached; a slow policy: at its end.

    look_after: images up to this time show an arm that still moves.
    """

    def __init__(self, settings: GoalSettings) -> None:
        self._settings = settings
        self._chunk_end = 0.0
        self.think_at = 0.0
        self.look_after = 0.0

    def accepted(self, stamp: float, now: float, rows: int) -> None:
        # Rows the arm executed between the image and now belong to the past; an arm that
        # stood still meanwhile has executed none.
        executed = max(0.0, min(self._chunk_end, now) - stamp)
        begin = now - executed
        period = self._settings.period
        self._chunk_end = begin + rows * period
        self.think_at = begin + min(self._settings.rethink_after_rows, rows) * period
        if now - stamp > self._settings.oldest_image:
            self.think_at = self.look_after = self._chunk_end + SETTLE_S


def _is_rest(thought: Thought, gripper: float | None) -> bool:
    moved = float(np.abs(thought.actions[:, :-1]).sum(axis=0).max())
    last = float(thought.actions[-1, -1])
    return moved < STILL_MOTION and (gripper is None or (last >= 0.5) == (gripper >= 0.5))
