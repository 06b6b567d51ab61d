"""Full reasoning every k-th thought, trace-conditioned thoughts in between."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.engine.rate import RatePlan
from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.factory import PolicySpec, make_policy
from molmoact_ros.policy.rated import RatedPolicy
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

IMAGE = np.zeros((6, 8, 3), np.uint8)
TRACE = np.array([[10, 20], [30, 40]], np.float32)


class Thinker:
    """Answers like a model: without a drawing with depth and trace, with one with actions only."""

    description, needs_geometry = "thinker", False
    codebook, model = "0123456789abcdef", "what it is"

    def __init__(self) -> None:
        self.steering: list[np.ndarray | None] = []
        self.refuse = False

    def reset(self, instruction: str) -> None: ...

    def think(self, observation, canceled) -> Thought:
        self.steering.append(observation.steering)
        if self.refuse:
            raise ThoughtRefused("damaged")
        steered = observation.steering is not None
        depth = None if steered else np.zeros((10, 10), np.uint8)
        trace = np.zeros((0, 2), np.float32) if steered else TRACE
        return Thought("text", depth, trace, np.zeros((8, 7)), steered)


def think(policy: RatedPolicy, stamp: float, steering=None) -> Thought:
    return policy.think(Observation(stamp, (IMAGE,), "go", steering=steering), lambda: False)


def test_every_third_thought_reasons_fully() -> None:
    thinker = Thinker()
    policy = RatedPolicy(thinker, RatePlan(3))
    policy.reset("go")
    for i in range(7):
        think(policy, 0.3 * i)
    assert [s is None for s in thinker.steering] == [True, False, False, True, False, False, True]


def test_what_is_known_of_the_model_is_known_of_the_plan() -> None:
    """Every depth map is published with its codebook, so this is read at every thought."""
    policy = RatedPolicy(Thinker(), RatePlan(2))
    assert (policy.codebook, policy.model) == (Thinker.codebook, Thinker.model)


def test_a_thought_in_between_shows_the_trace_it_followed() -> None:
    """The page says whose trace it is: the model's own one is no person's drawing."""
    policy = RatedPolicy(Thinker(), RatePlan(2))
    policy.reset("go")
    assert think(policy, 0.0).depth is not None
    between = think(policy, 0.3)
    assert between.depth is None and not between.steered
    assert np.array_equal(between.trace, TRACE)


def test_a_persons_drawing_goes_first_and_the_next_thought_looks_anew() -> None:
    thinker = Thinker()
    policy = RatedPolicy(thinker, RatePlan(5))
    policy.reset("go")
    drawn = TRACE + 50
    think(policy, 0.0)
    assert think(policy, 0.1, drawn).steered
    assert np.array_equal(thinker.steering[1], drawn)
    think(policy, 0.2)
    assert thinker.steering[2] is None


def test_after_a_refused_thought_the_next_one_reasons_fully() -> None:
    thinker = Thinker()
    policy = RatedPolicy(thinker, RatePlan(5))
    policy.reset("go")
    think(policy, 0.0)
    thinker.refuse = True
    with pytest.raises(ThoughtRefused):
        think(policy, 0.1)
    thinker.refuse = False
    think(policy, 0.2)
    assert thinker.steering[2] is None


def test_the_scripted_policy_has_no_use_for_it() -> None:
    with pytest.raises(PolicyError, match="full_every"):
        make_policy(PolicySpec(kind="scripted", full_every=2))


def test_off_is_the_policy_itself() -> None:
    assert not isinstance(make_policy(PolicySpec(kind="scripted")), RatedPolicy)
