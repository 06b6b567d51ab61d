"""One row of motion from one state: the expert has no phases and no memory.

Everything it does is a proportional step towards a pose that depends smoothly on the state:
the height above an object is a funnel over the distance to it, the way sideways opens as
the height is reached. A learner that copies it needs no hidden state (the lesson of a
phase-based expert whose copies ignored the picture).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.scripted.estimate import Estimate, Hand, Item
from molmoact_ros.policy.scripted.goals import (
    LIFTED_M,
    MAX_YAW_RAD,
    PICK_UP,
    RETREAT_M,
    Goal,
    Place,
    achieved,
    finger_room,
    place_for,
    put_down,
)
from molmoact_ros.policy.scripted.percept import BOWL, BOWL_RADIUS_M, Floats
from molmoact_ros.policy.scripted.tool import euler_of, tool_yaw, turn_to_straight_down

GAIN = 0.28
MAX_STEP_M = 0.013
MAX_TURN_RAD = 0.08
# Errors below these are rest: a policy that is done must ask for no motion at all.
REST_M = 0.0008
REST_RAD = 0.004

FUNNEL_HEIGHT_M = 0.11
FUNNEL_RADIUS_M = 0.040
FUNNEL_FLAT_M = 0.004
# A radian of yaw error counts like this distance: fingers must be aligned before they lower.
YAW_AS_M = 0.03
# Fingers turn only near the thing, where the camera on the hand sees how it lies: a learner cannot
# know it from farther away, and would turn at random.
TURN_NEAR_M, TURN_FAR_M = 0.05, 0.09
# Sideways motion fades out over this much missing height.
GATE_M = 0.03

OPEN_WIDTH_M = 0.066
RELEASED_WIDTH_M = 0.058
GRASP_LATERAL_M = 0.010
GRASP_VERTICAL_M = 0.009
# Fingers that came too low hold a cube as well; the table stops them.
GRASP_TOO_LOW_M = 0.016
GRASP_YAW_RAD = 0.15
RELEASE_LATERAL_M = 0.008
RELEASE_VERTICAL_M = 0.007
FINGERTIP_M = 0.010
OPEN, CLOSED = 1.0, 0.0


@dataclass(frozen=True)
class Row:
    """delta [6]: dx dy dz droll dpitch dyaw, base frame, metres and radians; gripper 1 open."""

    delta: Floats
    gripper: float


def next_row(estimate: Estimate, hand: Hand, goal: Goal) -> Row:
    """The next 1/15 s of motion. What is needed but not known is waited for, hand raised."""
    held = estimate.held
    if achieved(estimate, goal):
        return _rest(estimate, hand, goal)
    if goal.target and goal.target not in estimate.items:
        return _retreat(estimate, hand) if held is None else _lift(estimate, hand)
    if held is not None and held != goal.item:
        return _carry(estimate, hand, held, put_down(estimate, held))
    if held == goal.item:
        if goal.family == PICK_UP:
            return _lift(estimate, hand)
        return _carry(estimate, hand, held, place_for(estimate, goal))
    if goal.item not in estimate.items:
        return _retreat(estimate, hand)
    return _approach(estimate, hand, goal.item)


def _rest(estimate: Estimate, hand: Hand, goal: Goal) -> Row:
    if goal.family == PICK_UP:
        return _lift(estimate, hand)
    return _retreat(estimate, hand)


def _retreat(estimate: Estimate, hand: Hand) -> Row:
    """Open where the hand is, and only then go straight up."""
    if hand.width < RELEASED_WIDTH_M:
        return Row(np.zeros(6), OPEN)
    target = hand.command.position.copy()
    target[2] = max(target[2], estimate.table + RETREAT_M)
    return Row(_step(hand.command, target, tool_yaw(hand.command)), OPEN)


def _lift(estimate: Estimate, hand: Hand) -> Row:
    assert estimate.held is not None
    hanging = estimate.items[estimate.held].position[2] - hand.measured.position[2]
    target = hand.command.position.copy()
    target[2] = estimate.table + LIFTED_M - hanging + 0.01
    return Row(_step(hand.command, target, tool_yaw(hand.command)), CLOSED)


def _carry(estimate: Estimate, hand: Hand, name: str, place: Place) -> Row:
    """Bring the held cube over the place, lower it, let go."""
    item = estimate.items[name]
    offset = item.position - hand.measured.position
    yaw = (
        tool_yaw(hand.command)
        if place.yaw is None
        else _nearest_half_turn(place.yaw, tool_yaw(hand.command))
    )
    away = np.abs(item.position - place.position)
    turned = abs(yaw - tool_yaw(hand.measured))
    if (
        np.hypot(away[0], away[1]) < RELEASE_LATERAL_M
        and away[2] < RELEASE_VERTICAL_M
        and turned < GRASP_YAW_RAD
    ):
        return Row(np.zeros(6), OPEN)
    target = place.position - offset
    return Row(_funnel(hand.command, target, yaw), CLOSED)


def _approach(estimate: Estimate, hand: Hand, name: str) -> Row:
    """Come down over the cube with open fingers along its sides, and close."""
    item = estimate.items[name]
    yaw = grasp_yaw(estimate, item, name, tool_yaw(hand.command))
    target = np.array([*item.xy, _grasp_height(estimate, item)])
    if _at_grasp(hand, target, yaw):
        return Row(np.zeros(6), CLOSED)
    if hand.width < OPEN_WIDTH_M:
        # Not open yet: whatever is between or below the fingers must not be pushed down.
        safe = target[2] + FUNNEL_HEIGHT_M
        target = np.array([*hand.command.position[:2], max(hand.command.position[2], safe)])
        return Row(_step(hand.command, target, tool_yaw(hand.command)), OPEN)
    return Row(_funnel(hand.command, target, yaw), OPEN)


def _at_grasp(hand: Hand, target: Floats, yaw: float) -> bool:
    away = target - hand.measured.position
    deep = GRASP_TOO_LOW_M if away[2] > 0.0 else GRASP_VERTICAL_M
    # While the fingers close they push the cube and hide it: be less strict, do not reopen.
    slack = 1.0 if hand.width > OPEN_WIDTH_M else 1.8
    return bool(
        np.hypot(away[0], away[1]) < slack * GRASP_LATERAL_M
        and abs(away[2]) < slack * deep
        and abs(yaw - tool_yaw(hand.measured)) < slack * GRASP_YAW_RAD
    )


def grasp_yaw(estimate: Estimate, item: Item, name: str, current: float) -> float:
    """The tool yaw along the cube's sides with room for the fingers, near to ``current``."""
    quarters = item.yaw + np.arange(-3, 4) * (np.pi / 2)
    yaws = quarters[np.abs(quarters) < MAX_YAW_RAD]
    room = finger_room(estimate, item.xy, yaws, (name,))
    cost = np.abs(yaws - current) + 100.0 * np.maximum(0.0, 0.012 - room)
    return float(yaws[int(np.argmin(cost))])


def _grasp_height(estimate: Estimate, item: Item) -> float:
    height = max(float(item.position[2]), estimate.table + FINGERTIP_M + 0.006)
    bowl = estimate.items.get(BOWL)
    if bowl is not None and np.linalg.norm(bowl.xy - item.xy) < BOWL_RADIUS_M:
        height += 0.012  # the wall is as near as the fingers: take the cube by its upper part
    return height


def _funnel(command: Pose, target: Floats, yaw: float) -> Floats:
    """A step towards ``target`` from above: high while far, sideways only when high enough."""
    away = float(np.linalg.norm(target[:2] - command.position[:2]))
    error = away + YAW_AS_M * abs(yaw - tool_yaw(command))
    x = float(np.clip((error - FUNNEL_FLAT_M) / (FUNNEL_RADIUS_M - FUNNEL_FLAT_M), 0.0, 1.0))
    needed = target[2] + FUNNEL_HEIGHT_M * x * x * (3.0 - 2.0 * x)
    gate = float(np.clip(1.0 - (needed - command.position[2]) / GATE_M, 0.0, 1.0))
    aim = np.array([*(command.position[:2] + gate * (target[:2] - command.position[:2])), needed])
    near = float(np.clip((TURN_FAR_M - away) / (TURN_FAR_M - TURN_NEAR_M), 0.0, 1.0))
    current = tool_yaw(command)
    return _step(command, aim, current + near * (yaw - current))


def _step(command: Pose, target: Floats, yaw: float) -> Floats:
    """A proportional, limited step [6] of the commanded pose; also straightens the tool."""
    move = target - command.position
    length = float(np.linalg.norm(move))
    if length < REST_M:
        move = np.zeros(3)
    else:
        move = move * min(GAIN, MAX_STEP_M / length)
    turn = turn_to_straight_down(command, yaw, REST_RAD)
    angle = float(np.linalg.norm(turn))
    if angle > 0.0:
        turn = turn * min(GAIN, MAX_TURN_RAD / angle)
    return np.concatenate([move, euler_of(turn)])


def _nearest_half_turn(yaw: float, reference: float) -> float:
    """``yaw`` modulo pi nearest to ``reference``, within the wrist's range."""
    turns = yaw + np.arange(-2, 3) * np.pi
    allowed = turns[np.abs(turns) < MAX_YAW_RAD]
    return float(min(allowed, key=lambda angle: abs(angle - reference)))


__all__ = ["Hand", "Row", "grasp_yaw", "next_row"]
