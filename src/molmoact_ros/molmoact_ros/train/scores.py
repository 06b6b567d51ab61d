"""What decoded answers are worth, in the units of the robot: a loss says little about a motion."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.dataset import DataSet, Tick
from molmoact_ros.reasoning.actions import decode
from molmoact_ros.reasoning.thought import Thought
from molmoact_ros.train.decoding import Spoken

_ARM = (
    ("x_mm", 1000.0), ("y_mm", 1000.0), ("z_mm", 1000.0),
    ("roll_deg", 180.0 / np.pi), ("pitch_deg", 180.0 / np.pi), ("yaw_deg", 180.0 / np.pi),
)  # fmt: skip
"""Name with unit, and that unit's number in a metre or radian."""


def decoded_metrics(
    answer: Callable[[Tick], Spoken], data: DataSet, ticks: Iterable[Tick]
) -> dict[str, float]:
    """Means over answers. Of the first row and the last (``first_``, ``last_``): L1 of every
    dimension and of all lengths (mm) and angles (deg) of a pose action; ``chunk_`` over all rows;
    ``end_mm`` of the way added up. Other robots: ``first_d0`` and so on, as recorded.
    gripper_f1: closed is positive; change_ticks: how many rows too early or late a gripper changes,
    change_missed: share of changes that do not come. trace_units: grid units; depth_codes: share of
    right ones. refused: share of answers that cannot be read when decoded freely; refused_held:
    under the grammar. tokens_s: written a second.
    """
    found: dict[str, list[float]] = {}
    count, free, held, tokens, seconds, grips = 0, 0, 0, 0, 0.0, np.zeros(3)
    gripper = np.flatnonzero(~data.statistics.scaled)
    for tick in ticks:
        spoken = answer(tick)
        count, tokens, seconds = count + 1, tokens + spoken.tokens, seconds + spoken.seconds
        free += not spoken.free
        if spoken.thought is None:
            held += 1
            continue
        truth = data.statistics.unnormalise(decode(tick.bins))
        values = {**motion(spoken.thought.actions, truth), **_reasoning(spoken.thought, tick)}
        closed, wanted = spoken.thought.actions[:, gripper] < 0.5, truth[:, gripper] < 0.5
        grips += [(closed & wanted).sum(), (closed & ~wanted).sum(), (~closed & wanted).sum()]
        values |= changes(closed, wanted)
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    out = {name: float(np.mean(values)) for name, values in found.items()}
    right, wrong, missed = grips
    if right + wrong + missed:
        out["gripper_f1"] = float(2 * right / (2 * right + wrong + missed))
    out |= {"refused": free / max(count, 1), "refused_held": held / max(count, 1)}
    return out | ({"tokens_s": tokens / seconds} if seconds > 0.0 else {})


def motion(actions: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    """Errors of a chunk [N, D]; 7 numbers are a pose (metres, radians) and a gripper."""
    error, dims = np.abs(actions - truth), truth.shape[1]
    pose = dims == len(_ARM) + 1
    names = _ARM if pose else tuple((f"d{d}", 1.0) for d in range(dims))
    out: dict[str, float] = {}
    for row, number in {"first": 0, "last": len(error) - 1}.items():
        out |= {f"{row}_{n}": s * float(error[number, d]) for d, (n, s) in enumerate(names)}
    if pose:
        for row, part in {"first": error[:1], "last": error[-1:], "chunk": error}.items():
            out[f"{row}_mm"] = 1000.0 * float(part[:, :3].mean())
            out[f"{row}_deg"] = float(np.degrees(part[:, 3:6].mean()))
        way = np.abs((actions - truth)[:, :3].sum(axis=0))
        out["end_mm"] = 1000.0 * float(way.mean())
    return out


def changes(closed: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> dict[str, float]:
    """When grippers [N, grippers] first open or close within a chunk; empty where none should."""
    late, missed = [], []
    for said, true in zip(closed.T, wanted.T, strict=True):
        when = np.flatnonzero(true[1:] != true[:-1])
        if not len(when):
            continue
        moves = (said[1:] != said[:-1]) & (said[1:] == true[when[0] + 1])
        missed.append(float(not moves.any()))
        if moves.any():
            late.append(float(np.abs(np.flatnonzero(moves) - when[0]).min()))
    out = {"change_missed": float(np.mean(missed))} if missed else {}
    return out | ({"change_ticks": float(np.mean(late))} if late else {})


def _reasoning(thought: Thought, tick: Tick) -> dict[str, float]:
    out = {}
    if tick.trace is not None and len(thought.trace):
        out["trace_units"] = trace_error(thought.trace, tick.trace)
    if tick.depth is not None and thought.depth is not None:
        equal = thought.depth.reshape(-1) == tick.depth.reshape(-1)
        out["depth_codes"] = float(equal.mean())
    return out


def trace_error(found: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Mean distance in grid units after both are cut to the shorter one's points, evenly."""
    count = min(len(found), len(truth))
    pick = [
        points[np.linspace(0, len(points) - 1, count).round().astype(int)].astype(np.float64)
        for points in (found, truth)
    ]
    return float(np.linalg.norm(pick[0] - pick[1], axis=1).mean())
