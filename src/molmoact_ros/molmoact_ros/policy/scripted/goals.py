"""What is wanted, when it holds, and where a held cube should be put down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from molmoact_ros.policy.scripted.estimate import Estimate
from molmoact_ros.policy.scripted.percept import (
    BOWL,
    BOWL_HEIGHT_M,
    BOWL_RADIUS_M,
    CUBE_M,
    CUBES,
    PLATE,
    PLATE_FLOOR_M,
    PLATE_RADIUS_M,
    Floats,
)

Family = Literal["pick_up", "put_on", "put_into", "move_next_to"]

LIFTED_M = 0.15
RETREAT_M = 0.22
# Centre distance of neighbours: room for two half diagonals (57 mm), well within 80 mm.
NEXT_TO_M = 0.065
NEXT_TO_DONE_M = 0.074
ON_PLATE_M = 0.052
IN_BOWL_M = 0.048
# Half the distance between open fingers plus half a finger's thickness.
FINGER_OFFSET_M = 0.052
# Beyond this yaw (from tool x along base x) the last joint comes near its limit.
MAX_YAW_RAD = 1.3


@dataclass(frozen=True)
class Goal:
    """family of the task; item: the cube's name; target: plate, bowl or a cube, "" for pick_up."""

    family: Family
    item: str
    target: str = ""


@dataclass(frozen=True)
class Place:
    """Where to let go: centre of the cube [3], base frame; tool yaw modulo pi, None if free."""

    position: Floats
    yaw: float | None = None


def achieved(estimate: Estimate, goal: Goal) -> bool:
    """Whether the goal holds as far as the policy knows."""
    item = estimate.items.get(goal.item)
    if item is None:
        return False
    height = float(item.position[2]) - estimate.table
    if goal.family == "pick_up":
        return estimate.held == goal.item and height > LIFTED_M - 0.01
    target = estimate.items.get(goal.target)
    if estimate.held == goal.item or target is None:
        return False
    distance = float(np.linalg.norm(item.xy - target.xy))
    if goal.family == "put_on":
        return distance < ON_PLATE_M and height < CUBE_M + 0.010
    if goal.family == "put_into":
        return distance < IN_BOWL_M and height < BOWL_HEIGHT_M + CUBE_M
    return distance < NEXT_TO_DONE_M and height < CUBE_M - 0.005


def place_for(estimate: Estimate, goal: Goal) -> Place:
    """Where the held cube goes. The target must be known (KeyError otherwise)."""
    xy = estimate.items[goal.target].xy
    table = estimate.table
    if goal.family == "put_on":
        # 3 mm above the plate: let go, do not press.
        return Place(np.array([*xy, table + PLATE_FLOOR_M + CUBE_M / 2 + 0.003]))
    if goal.family == "put_into":
        # Open fingers are as wide as the bowl: release with their tips just above the rim.
        return Place(np.array([*xy, table + BOWL_HEIGHT_M + CUBE_M / 2 + 0.002]))
    return _beside(estimate, goal)


def put_down(estimate: Estimate, name: str) -> Place:
    """The nearest free spot of the table, to get rid of a cube nobody asked for."""
    here = estimate.items[name].xy
    rings = [
        here + radius * np.array([np.cos(angle), np.sin(angle)])
        for radius in (0.0, 0.04, 0.08, 0.12, 0.16)
        for angle in np.arange(0.0, 2 * np.pi, np.pi / 8)
    ]
    inside = [xy for xy in rings if 0.35 < xy[0] < 0.68 and abs(xy[1]) < 0.30] or [here]
    best = max(inside, key=lambda xy: min(_room(estimate, xy, (name,)), 0.06))
    return Place(np.array([*best, estimate.table + CUBE_M / 2 + 0.003]))


def finger_room(estimate: Estimate, xy: Floats, yaw: float, ignore: tuple[str, ...]) -> float:
    """Free metres around both open fingers of a tool at ``xy`` with ``yaw``."""
    axis = FINGER_OFFSET_M * np.array([-np.sin(yaw), np.cos(yaw)])
    return min(_room(estimate, xy + axis, ignore), _room(estimate, xy - axis, ignore))


def _beside(estimate: Estimate, goal: Goal) -> Place:
    """Next to the target, on the side the cube comes from unless something stands there."""
    target = estimate.items[goal.target].xy
    arrival = estimate.items[goal.item].xy - target
    heading = float(np.arctan2(arrival[1], arrival[0]))

    def cost(angle: float) -> float:
        yaw = _half_turn(angle)
        xy = target + NEXT_TO_M * np.array([np.cos(angle), np.sin(angle)])
        ignore = (goal.item, goal.target)
        room = min(_room(estimate, xy, ignore) - CUBE_M / 2, finger_room(estimate, xy, yaw, ignore))
        outside = not (0.33 < xy[0] < 0.70 and abs(xy[1]) < 0.33)
        # Its own arrival side costs nothing, so a choice once made confirms itself.
        turn = abs(float((angle - heading + np.pi) % (2 * np.pi) - np.pi))
        return turn + 100.0 * max(0.0, 0.02 - room) + 10.0 * outside

    # Fingers open across the line between the cubes: tool x along it, within the wrist's range.
    angles = [a for a in np.arange(-np.pi, np.pi, np.pi / 16) if abs(_half_turn(a)) < MAX_YAW_RAD]
    best = min(angles, key=cost)
    xy = target + NEXT_TO_M * np.array([np.cos(best), np.sin(best)])
    return Place(np.array([*xy, estimate.table + CUBE_M / 2 + 0.003]), _half_turn(best))


def _half_turn(angle: float) -> float:
    """The same line's direction in [-pi/2, pi/2)."""
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)


def _room(estimate: Estimate, xy: Floats, ignore: tuple[str, ...]) -> float:
    """Metres from ``xy`` to the nearest outline of another thing on the table."""
    nearest = 0.5
    for name, item in estimate.items.items():
        if name in ignore:
            continue
        radius = {PLATE: PLATE_RADIUS_M, BOWL: BOWL_RADIUS_M}.get(name, CUBE_M * 0.6)
        nearest = min(nearest, float(np.linalg.norm(item.xy - xy)) - radius)
    return nearest


__all__ = ["CUBES", "Goal", "Place", "achieved", "finger_room", "place_for", "put_down"]
