"""Imagine the next seconds: the expert repeated on a kinematic copy of the scene."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.policy.scripted.estimate import Estimate, Hand, between_fingers, carried, grip
from molmoact_ros.policy.scripted.expert import next_row
from molmoact_ros.policy.scripted.goals import Goal
from molmoact_ros.policy.scripted.percept import CUBE_M, CUBES, Floats
from molmoact_ros.policy.scripted.tool import followed, moved

# Slower than the Franka Hand: a chunk must not lift before the real fingers have closed.
FINGER_M_PER_ROW = 0.0045
OPEN_WIDTH_M = 0.08
# Share of the distance to the commanded pose the arm makes good in one row.
FOLLOWING = 0.6
STILL_ROWS = 3


class Plan(NamedTuple):
    """rows [N, 7] (delta, gripper); path [M, 3]: imagined tool centres until the goal holds."""

    rows: NDArray[np.float64]
    path: Floats


def roll(estimate: Estimate, hand: Hand, goal: Goal, rows: int = 8, horizon: int = 240) -> Plan:
    """The next ``rows`` rows and the whole path of at most ``horizon`` rows.

    The path starts at the measured tool centre and ends where the expert asks for nothing
    more; it is never empty.
    """
    deltas: list[Floats] = []
    path = [hand.measured.position]
    still = 0
    for index in range(max(rows, horizon)):
        row = next_row(estimate, hand, goal)
        if index < rows:
            deltas.append(np.append(row.delta, row.gripper))
        elif still >= STILL_ROWS:
            break
        estimate, hand, resting = _advance(estimate, hand, row.delta, row.gripper)
        still = still + 1 if resting else 0
        path.append(hand.measured.position)
    return Plan(np.array(deltas), _trim(np.array(path)))


def _advance(
    estimate: Estimate, hand: Hand, delta: Floats, gripper: float
) -> tuple[Estimate, Hand, bool]:
    command = moved(hand.command, delta)
    measured = followed(hand.measured, command, FOLLOWING)
    width = _finger_width(estimate, hand, gripper)
    resting = not delta.any() and abs(width - hand.width) < 1e-9
    after = Hand(command, measured, width)
    return grip(carried(estimate, hand.measured, measured), after), after, resting


def _finger_width(estimate: Estimate, hand: Hand, gripper: float) -> float:
    if gripper >= 0.5:
        return min(OPEN_WIDTH_M, hand.width + FINGER_M_PER_ROW)
    blocked = any(
        name in estimate.items and between_fingers(estimate.items[name], hand.measured)
        for name in CUBES
    )
    stop = CUBE_M if blocked else 0.0
    return max(min(hand.width, stop), hand.width - FINGER_M_PER_ROW)


def _trim(path: Floats) -> Floats:
    """Drop the standstill at the end; one point remains of a path that never moves."""
    moved = np.linalg.norm(path - path[-1], axis=1) > 0.001
    last = int(np.nonzero(moved)[0].max()) + 1 if moved.any() else 0
    return path[: last + 1]
