"""Two policies think about the same recorded observations; who comes closer to what was done?

Nothing moves. What was executed is one good way to do a task, not the only one: read the numbers
side by side, not as a success rate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.bags.executed import Executed
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.observations import BagObservations, Recorded, recorded_thoughts, sampled
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.geometry import Floats
from molmoact_ros.policy.base import Observation, Policy
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

HORIZON_S = 6.0
"""The executed path that a predicted trace is compared with."""
OPEN = 0.5


@dataclass(frozen=True)
class Opinion:
    """One policy about one observation. refusal: why there is no thought, else empty.

    trace: mean distance of predicted points to the executed path, 0..255 grid. position: mean
    distance per row in metres; rotation: mean angle per row in radians; gripper: share of rows
    that agree. NaN where the bag does not tell. codebook: of the thought's depth codes.
    """

    thought: Thought | None
    refusal: str = ""
    seconds: float = math.nan
    trace: float = math.nan
    position: float = math.nan
    rotation: float = math.nan
    gripper: float = math.nan
    codebook: str = ""


@dataclass(frozen=True)
class Comparison:
    """One moment. depth: share of equal depth codes; path: executed, on the grid, or None."""

    bag: str
    observation: Observation
    opinions: tuple[Opinion, Opinion]
    depth: float
    path: Floats | None


def compare(
    bags: Sequence[Path],
    policies: tuple[Policy, Policy],
    *,
    every: float = 0.0,
    images: int = 2,
    period: float = 1.0 / 15.0,
    limit: int = 0,
) -> Iterator[Comparison]:
    """Comparisons in order. ``every`` seconds an observation; 0: those of recorded thoughts.

    limit: at most so many a bag, 0 all. Raises BadBag, PolicyError.
    """
    for bag in bags:
        reader = BagReader(bag)
        executed = Executed(reader)
        task = reader.custom.get("task", "")
        for policy in policies:
            if task:
                policy.reset(task)
        count = 0
        for recorded in _moments(reader, images, every, task):
            yield _compare(bag.name, recorded.observation, policies, executed, period)
            count += 1
            if limit and count >= limit:
                break
        if not count:
            raise BadBag(
                f"{bag}: holds no observation to think about; give --every 1.0 for bags without a "
                "policy's thoughts, and check its cameras with molmoact bag info"
            )


def _moments(reader: BagReader, images: int, every: float, task: str) -> Iterator[Recorded]:
    source = BagObservations(reader, images=images)
    if every > 0.0:
        if not task:
            raise BadBag(f"{reader.path}: no task is written in it; it cannot be asked about")
        return sampled(source, task, every)
    return recorded_thoughts(source)


def _compare(
    bag: str,
    observation: Observation,
    policies: tuple[Policy, Policy],
    executed: Executed,
    period: float,
) -> Comparison:
    path = None
    if observation.camera is not None:
        path = executed.path(observation.stamp, HORIZON_S, observation.camera)
    first, second = (_opinion(policy, observation, executed, path, period) for policy in policies)
    return Comparison(bag, observation, (first, second), depth_agreement(first, second), path)


def _opinion(
    policy: Policy,
    observation: Observation,
    executed: Executed,
    path: Floats | None,
    period: float,
) -> Opinion:
    begin = time.perf_counter()
    try:
        thought = policy.think(observation, lambda: False)
    except ThoughtRefused as refused:
        return Opinion(None, refused.reason, time.perf_counter() - begin)
    seconds = time.perf_counter() - begin
    rows = executed.rows(observation.stamp, len(thought.actions), period)
    position, rotation, gripper = action_error(thought.actions, rows)
    trace = trace_error(thought.trace, path)
    return Opinion(thought, "", seconds, trace, position, rotation, gripper, policy.codebook)


def trace_error(trace: NDArray[np.floating], path: Floats | None) -> float:
    """Mean distance of points [L, 2] to the nearest point of path [M, 2]; NaN without either."""
    if path is None or not len(path) or not len(trace):
        return math.nan
    gaps = np.linalg.norm(np.asarray(trace, np.float64)[:, None] - path[None], axis=2)
    return float(gaps.min(axis=1).mean())


def action_error(actions: Floats, rows: Floats | None) -> tuple[float, float, float]:
    """(metres, radians, share of gripper rows that agree) between [N, 7] and [N, 7]."""
    if rows is None or not len(actions) or actions.shape[1] < 7:
        return math.nan, math.nan, math.nan
    position = float(np.linalg.norm(actions[:, :3] - rows[:, :3], axis=1).mean())
    rotation = float(np.linalg.norm(actions[:, 3:6] - rows[:, 3:6], axis=1).mean())
    known = np.isfinite(rows[:, 6])
    agree = (actions[:, 6] >= OPEN) == (rows[:, 6] >= OPEN)
    return position, rotation, float(agree[known].mean()) if known.any() else math.nan


def depth_agreement(first: Opinion, second: Opinion) -> float:
    """Share of equal depth codes; NaN when one has none, or when they are of different VQ-VAEs."""
    a = first.thought.depth if first.thought else None
    b = second.thought.depth if second.thought else None
    if a is None or b is None or a.shape != b.shape or first.codebook != second.codebook:
        return math.nan
    return float((a == b).mean())


def summarise(name: str, opinions: Sequence[Opinion]) -> dict[str, object]:
    """Means over all moments that tell, for a table or JSON."""

    def mean(field: Callable[[Opinion], float]) -> float | None:
        values = [field(o) for o in opinions if math.isfinite(field(o))]
        return float(np.mean(values)) if values else None

    refusals = [o.refusal for o in opinions if o.refusal]
    return {
        "model": name,
        "thoughts": len(opinions),
        "refused": len(refusals),
        "first_refusal": refusals[0] if refusals else "",
        "seconds_per_thought": mean(lambda o: o.seconds),
        "trace_error_grid": mean(lambda o: o.trace),
        "position_error_m_per_row": mean(lambda o: o.position),
        "rotation_error_rad_per_row": mean(lambda o: o.rotation),
        "gripper_agreement": mean(lambda o: o.gripper),
    }
