"""What is wanted, when it holds, and where a held cube should be put down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

PICK_UP, PUT_ON, PUT_INTO, MOVE_NEXT_TO = "pick_up", "put_on", "put_into", "move_next_to"

LIFTED_M = 0.15
RETREAT_M = 0.22
Angles = NDArray[np.floating[Any]]

# Centre distance of neighbours: room for two half diagonals (57 mm), well within 80 mm.
NEXT_TO_M = 0.065
NEXT_TO_DONE_M = 0.074
# Centre distance of two cubes that share a plate, faces parallel: a gap of 6 mm.
NEIGHBOUR_M = 0.046
# Let go this far above what is below: do not press.
LET_GO_M = 0.003
ON_PLATE_M = 0.052
IN_BOWL_M = 0.048
# Half the distance between open fingers plus half a finger's thickness.
FINGER_OFFSET_M = 0.052
# Beyond this yaw (from tool x along base x) the last joint comes near its limit.
MAX_YAW_RAD = 1.3


@dataclass(frozen=True)
class Goal:
    """family of the task; item: the cube's name; target: plate, bowl or a cube, "" for pick_up.

    Raises ValueError for another family or a target that does not fit it.
    """

    family: str
    item: str
    target: str = ""

    def __post_init__(self) -> None:
        targets = {PICK_UP: ("",), PUT_ON: (PLATE,), PUT_INTO: (BOWL,), MOVE_NEXT_TO: CUBES}
        if self.item not in CUBES or self.target not in targets.get(self.family, ()):
            raise ValueError(
                f"No such goal: {self.family}({self.item}, {self.target!r}); use one of "
                f"{tuple(targets)} with an item of {CUBES} and its target of {targets}."
            )


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
    if goal.family == PICK_UP:
        return estimate.held == goal.item and height > LIFTED_M - 0.01
    target = estimate.items.get(goal.target)
    if estimate.held == goal.item or target is None:
        return False
    distance = float(np.linalg.norm(item.xy - target.xy))
    if goal.family == PUT_ON:
        return distance < ON_PLATE_M and height < CUBE_M + 0.010
    if goal.family == PUT_INTO:
        return distance < IN_BOWL_M and height < BOWL_HEIGHT_M + CUBE_M
    return distance < NEXT_TO_DONE_M and height < CUBE_M - 0.005


def place_for(estimate: Estimate, goal: Goal) -> Place:
    """Where the held cube goes. The target must be known (KeyError otherwise)."""
    xy = estimate.items[goal.target].xy
    table = estimate.table
    if goal.family == PUT_ON:
        return _on_plate(estimate, goal)
    if goal.family == PUT_INTO:
        # Open fingers are as wide as the bowl: release with their tips just above the rim.
        return Place(np.array([*xy, table + BOWL_HEIGHT_M + CUBE_M / 2 + 0.002]))
    return _beside(estimate, goal)


def _on_plate(estimate: Estimate, goal: Goal) -> Place:
    """The middle of the plate, or face to face with a cube that already stands there."""
    centre = estimate.items[goal.target].xy
    height = estimate.table + PLATE_FLOOR_M + CUBE_M / 2 + LET_GO_M
    others = [item for name, item in estimate.items.items() if name in CUBES and name != goal.item]
    standing = [item for item in others if np.linalg.norm(item.xy - centre) < ON_PLATE_M]
    if not standing:
        return Place(np.array([*centre, height]))
    sides = np.concatenate([item.yaw + np.arange(4) * (np.pi / 2) for item in standing])
    beside = np.repeat(np.array([item.xy for item in standing]), 4, axis=0)
    spots = beside + NEIGHBOUR_M * _unit(sides)
    yaws = _half_turn(sides)
    # Fingers open along the faces between the cubes, so they never enter the gap.
    crowded = _room(estimate, spots, (goal.item, goal.target)) < NEIGHBOUR_M - CUBE_M * 0.6 - 0.002
    cost = np.linalg.norm(spots - centre, axis=1) + crowded + (np.abs(yaws) > MAX_YAW_RAD)
    best = int(np.argmin(cost))
    return Place(np.array([*spots[best], height]), float(yaws[best]))


def put_down(estimate: Estimate, name: str) -> Place:
    """The nearest free spot of the table, to get rid of a cube nobody asked for."""
    angles = np.arange(0.0, 2 * np.pi, np.pi / 8)
    spots = estimate.items[name].xy + np.concatenate(
        [radius * _unit(angles) for radius in (0.0, 0.04, 0.08, 0.12, 0.16)]
    )
    # The first of the best: spots are ordered by distance, more room than this is no better.
    room = np.minimum(_room(estimate, spots, (name,)), 0.06) - _outside(spots)
    best = spots[int(np.argmax(room))]
    return Place(np.array([*best, estimate.table + CUBE_M / 2 + LET_GO_M]))


def finger_room(estimate: Estimate, xy: Floats, yaws: Angles, ignore: tuple[str, ...]) -> Floats:
    """Free metres [K] around both open fingers of a tool at ``xy`` [2] or [K, 2], yaws [K]."""
    axis = FINGER_OFFSET_M * _unit(yaws + np.pi / 2)
    return np.minimum(_room(estimate, xy + axis, ignore), _room(estimate, xy - axis, ignore))


def _beside(estimate: Estimate, goal: Goal) -> Place:
    """Next to the target, on the side the cube comes from unless something stands there."""
    target = estimate.items[goal.target].xy
    arrival = estimate.items[goal.item].xy - target
    heading = float(np.arctan2(arrival[1], arrival[0]))
    spots = target + NEXT_TO_M * _unit(_SIDES)
    # Fingers open across the line between the cubes: tool x along it.
    yaws = _half_turn(_SIDES)
    ignore = (goal.item, goal.target)
    room = np.minimum(
        _room(estimate, spots, ignore) - CUBE_M / 2, finger_room(estimate, spots, yaws, ignore)
    )
    # Its own arrival side costs nothing, so a choice once made confirms itself.
    turn = np.abs((_SIDES - heading + np.pi) % (2 * np.pi) - np.pi)
    best = int(np.argmin(turn + 100.0 * np.maximum(0.0, 0.02 - room) + 10.0 * _outside(spots)))
    position = np.array([*spots[best], estimate.table + CUBE_M / 2 + LET_GO_M])
    return Place(position, float(yaws[best]))


def _room(estimate: Estimate, points: Floats, ignore: tuple[str, ...]) -> Floats:
    """Metres [K] from each of ``points`` [K, 2] to the nearest outline of another thing."""
    others = [name for name in estimate.items if name not in ignore]
    if not others:
        return np.full(len(points), 0.5)
    centres = np.array([estimate.items[name].xy for name in others])
    radii = np.array([_RADII_M.get(name, CUBE_M * 0.6) for name in others])
    gaps = points[:, None, :] - centres[None]
    return np.asarray((np.hypot(gaps[..., 0], gaps[..., 1]) - radii).min(axis=1))


def _outside(spots: Floats) -> NDArray[np.bool_]:
    """Whether spots [K, 2] lie where the arm or the camera hardly reach."""
    x, y = spots[:, 0], spots[:, 1]
    return (x < 0.33) | (x > 0.70) | (np.abs(y) > 0.33)


def _unit(angles: Angles) -> Floats:
    """Unit vectors [..., 2] in the directions ``angles`` [...]."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float64)


def _half_turn(angles: Angles) -> Angles:
    """The same lines' directions in [-pi/2, pi/2)."""
    return (angles + np.pi / 2) % np.pi - np.pi / 2


_RADII_M = {PLATE: PLATE_RADIUS_M, BOWL: BOWL_RADIUS_M}
_AROUND = np.arange(-np.pi, np.pi, np.pi / 16)
_SIDES = _AROUND[np.abs(_half_turn(_AROUND)) < MAX_YAW_RAD]
