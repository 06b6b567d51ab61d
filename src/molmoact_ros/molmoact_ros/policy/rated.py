"""A policy that reasons fully every k-th time and follows its own last trace in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from molmoact_ros.engine.rate import RatePlan, ThoughtRate
from molmoact_ros.policy.base import (
    Observation,
    Policy,
    PreparingPolicy,
    Segment,
    think_streaming,
)
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused


class RatedPolicy:
    """Wraps any policy that can follow a drawn trace, see ``engine.rate``.

    A thought in between has no depth codes; its trace is the one it followed. An operator's
    drawing goes first and never counts as a thought of the plan's.
    """

    def __init__(self, policy: Policy, plan: RatePlan) -> None:
        self._policy = policy
        self._plan = plan
        self._rate = ThoughtRate(plan)

    @property
    def description(self) -> str:
        """That of the policy, and the plan."""
        return f"{self._policy.description}, full reasoning every {self._plan.full_every} thoughts"

    @property
    def needs_geometry(self) -> bool:
        """As the policy."""
        return self._policy.needs_geometry

    @property
    def codebook(self) -> str:
        """As the policy."""
        return self._policy.codebook

    @property
    def model(self) -> object:
        """What the policy says about its model; None if it has none."""
        return getattr(self._policy, "model", None)

    def prepare(self, observation: Observation) -> None:
        """See PreparingPolicy."""
        if isinstance(self._policy, PreparingPolicy):
            self._policy.prepare(observation)

    def reset(self, instruction: str) -> None:
        """The first thought of a goal reasons fully. Raises PolicyError."""
        self._rate.reset()
        self._policy.reset(instruction)

    def close(self) -> None:
        """End what the policy holds open."""
        close = getattr(self._policy, "close", None)
        if close is not None:
            close()

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        """One thought. Raises ThoughtRefused, PolicyError."""
        return self.think_streaming(observation, canceled, lambda segment: None)

    def think_streaming(
        self,
        observation: Observation,
        canceled: Callable[[], bool],
        on_segment: Callable[[Segment], None],
    ) -> Thought:
        """As ``think``; see StreamingPolicy."""
        if observation.steering is not None:
            self._rate.reset()  # behind a person's drawing the robot looks at the world anew
            return think_streaming(self._policy, observation, canceled, on_segment)
        trace = self._rate.trace_for(observation.stamp)
        seen = observation if trace is None else replace(observation, steering=trace)
        try:
            thought = think_streaming(self._policy, seen, canceled, on_segment)
        except ThoughtRefused:
            self._rate.refused()
            raise
        own = thought.trace if trace is None else np.asarray(trace, np.float32)
        self._rate.thought(observation.stamp, own, followed=trace is not None)
        return thought if trace is None else replace(thought, steered=False, trace=own)
