"""What the policy believes: where things are, and what the fingers hold.

Frozen values and pure functions, shared by the memory (which feeds on images) and by the
rollout (which imagines the next seconds).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.scripted.percept import (
    BOWL,
    BOWL_FLOOR_M,
    BOWL_RADIUS_M,
    CUBE_M,
    CUBES,
    PLATE,
    PLATE_FLOOR_M,
    PLATE_RADIUS_M,
    Floats,
    nearest_square_angle,
)
from molmoact_ros.policy.scripted.tool import tool_yaw, turned

# Finger distance, metres, that means "a 4 cm cube is between them, squeezed".
HOLD_WIDTH_M = (0.010, 0.047)
# A cube whose centre is this near to the tool centre lies between the fingers.
REACH_LATERAL_M = 0.026
REACH_VERTICAL_M = 0.028


@dataclass(frozen=True)
class Item:
    """position [3] metres, base frame (a cube's centre, a dish's centre on the table); yaw rad."""

    position: Floats
    yaw: float = 0.0

    @property
    def xy(self) -> Floats:
        return self.position[:2]


@dataclass(frozen=True)
class Estimate:
    """items by name; ``held`` is between closed fingers; ``lost`` were known and are not seen."""

    table: float
    items: Mapping[str, Item]
    held: str | None = None
    lost: frozenset[str] = field(default_factory=frozenset)

    def with_item(self, name: str, item: Item) -> Estimate:
        return replace(self, items={**self.items, name: item}, lost=self.lost - {name})

    def without(self, name: str) -> Estimate:
        """The item was believed somewhere it is not: unknown until seen again."""
        items = {key: item for key, item in self.items.items() if key != name}
        held = None if self.held == name else self.held
        return replace(self, items=items, held=held, lost=self.lost | {name})


@dataclass(frozen=True)
class Hand:
    """command and measured: tool centre poses in the base frame; width: metres between fingers."""

    command: Pose
    measured: Pose
    width: float


def between_fingers(item: Item, tool: Pose) -> bool:
    """Whether a cube at ``item`` is where the fingers close."""
    away = item.position - tool.position
    return bool(np.hypot(away[0], away[1]) < REACH_LATERAL_M and abs(away[2]) < REACH_VERTICAL_M)


def grip(estimate: Estimate, hand: Hand) -> Estimate:
    """Update ``held`` from the finger width.

    Closing on a cube centres it along the finger axis; opening lets it fall onto what is
    below; fingers that meet prove that nothing is between them, so that item is lost.
    """
    tool = hand.measured
    if hand.width <= HOLD_WIDTH_M[0]:
        for name in CUBES:
            if name in estimate.items and between_fingers(estimate.items[name], tool):
                estimate = estimate.without(name)
        return replace(estimate, held=None)
    if hand.width < HOLD_WIDTH_M[1]:
        if estimate.held is not None:
            return estimate
        near = [
            (float(np.linalg.norm(estimate.items[name].position - tool.position)), name)
            for name in CUBES
            if name in estimate.items and between_fingers(estimate.items[name], tool)
        ]
        if not near:
            return estimate
        name = min(near)[1]
        return replace(estimate.with_item(name, _centred(estimate.items[name], tool)), held=name)
    if estimate.held is None:
        return estimate
    name, item = estimate.held, estimate.items[estimate.held]
    free = replace(estimate, held=None)
    height = rest_height(free, item.xy, name)
    return free.with_item(name, Item(np.array([*item.xy, height]), item.yaw))


def carried(estimate: Estimate, before: Pose, after: Pose) -> Estimate:
    """The held item moves rigidly with the tool from ``before`` to ``after``."""
    if estimate.held is None:
        return estimate
    item = estimate.items[estimate.held]
    position = after.position + turned(before, after, item.position - before.position)
    yaw = item.yaw + tool_yaw(after) - tool_yaw(before)
    return estimate.with_item(estimate.held, Item(position, yaw))


def rest_height(estimate: Estimate, xy: Floats, name: str) -> float:
    """Height of a cube's centre, metres, when it rests at ``xy`` on what is known to be there."""

    def distance(other: str) -> float:
        return float(np.linalg.norm(estimate.items[other].xy - xy))

    for other in CUBES:
        if other != name and other in estimate.items and distance(other) < CUBE_M * 0.6:
            return float(estimate.items[other].position[2]) + CUBE_M
    floor = estimate.table
    if BOWL in estimate.items and distance(BOWL) < BOWL_RADIUS_M:
        floor += BOWL_FLOOR_M
    elif PLATE in estimate.items and distance(PLATE) < PLATE_RADIUS_M:
        floor += PLATE_FLOOR_M
    return floor + CUBE_M / 2


def _centred(item: Item, tool: Pose) -> Item:
    """Squeezed between the fingers: no offset along the finger axis (tool y), sides aligned."""
    local = tool.rotation.inv().apply(item.position - tool.position)
    local[1] = 0.0
    return Item(
        tool.position + tool.rotation.apply(local), nearest_square_angle(tool_yaw(tool), item.yaw)
    )
