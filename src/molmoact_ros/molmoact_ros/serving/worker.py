"""Owns the policy: one thread, whoever is connected.

A policy may be called from one thread only, and a thought that nobody waits for any more must end
before the next one begins. Requests therefore queue here, in the order they come.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np

from molmoact_ros.policy.base import (
    Observation,
    Policy,
    PolicyError,
    Segment,
    StreamingPolicy,
)
from molmoact_ros.policy.startup_checks import ModelDescription
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

log = logging.getLogger(__name__)

OnSegment = Callable[[Segment], None]
Result = TypeVar("Result")


class PolicyWorker:
    """Runs a policy in its own thread for coroutines of one event loop.

    ``model``: what the robot was told; a thought of another shape is not handed on.
    """

    def __init__(self, policy: Policy, model: ModelDescription) -> None:
        self._policy, self._model = policy, model
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy")

    async def reset(self, instruction: str) -> None:
        """A goal starts. Raises PolicyError."""
        await self._run(lambda: self._policy.reset(instruction))

    async def think(
        self, observation: Observation, canceled: threading.Event, on_segment: OnSegment
    ) -> Thought:
        """One thought; ``on_segment`` is called on the event loop, before this returns.

        timings get ``server``: seconds from here to the answer. Raises ThoughtRefused, PolicyError.
        """
        loop, began = asyncio.get_running_loop(), time.perf_counter()

        def hand_on(segment: Segment) -> None:
            loop.call_soon_threadsafe(on_segment, segment)

        def work() -> Thought:
            if canceled.is_set():
                raise ThoughtRefused("the thought was canceled before it began; ask again")
            if isinstance(self._policy, StreamingPolicy):
                return self._policy.think_streaming(observation, canceled.is_set, hand_on)
            thought = self._policy.think(observation, canceled.is_set)
            for segment in segments_of(thought):
                hand_on(segment)
            return thought

        thought = await self._run(work)
        _check_chunk(thought, self._model)
        return replace(thought, timings={**thought.timings, "server": time.perf_counter() - began})

    def close(self) -> None:
        """Begin nothing more; what runs is left to its end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (PolicyError, ThoughtRefused):
            raise
        except Exception as error:  # a bug in a policy must reach the robot as words
            log.exception("the policy failed")
            raise PolicyError(
                f"the policy failed with {type(error).__name__}: {error}; see the server's log"
            ) from error


def _check_chunk(thought: Thought, model: ModelDescription) -> None:
    found, told = thought.actions.shape, (model.rows, model.dims)
    if found != told or not np.isfinite(thought.actions).all():
        raise PolicyError(
            f"the policy's chunk has shape {list(found)} or holds NaN, but the robot was told "
            f"{list(told)}; start the server with the checkpoint's own --rows"
        )


def segments_of(thought: Thought) -> list[Segment]:
    """The parts of a whole thought, for policies that hand out nothing earlier."""
    parts = [] if thought.depth is None else [Segment("depth", 0, thought.depth)]
    if not thought.steered:
        parts.append(Segment("trace", 0, thought.trace))
    return parts + [Segment("row", i, row) for i, row in enumerate(thought.actions)]
