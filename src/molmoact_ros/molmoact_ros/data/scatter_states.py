"""States of robot and table that no demonstration has to pass through: drawn, not driven.

The scripted expert is memoryless, so it can say what to do next in any state. States drawn at
random around the places that matter cover a learner's own mistakes, which demonstrations of an
expert that makes none do not (Ross, Gordon, Bagnell: A Reduction of Imitation Learning, 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.policy.scripted.estimate import Estimate, Item, rest_height
from molmoact_ros.policy.scripted.expert import (
    FUNNEL_FLAT_M,
    FUNNEL_HEIGHT_M,
    FUNNEL_RADIUS_M,
    YAW_AS_M,
    grasp_yaw,
)
from molmoact_ros.policy.scripted.goals import MAX_YAW_RAD, Goal, place_for
from molmoact_ros.policy.scripted.percept import BOWL, CUBE_M, CUBES, PLATE, square_angle
from molmoact_ros.sim.layout import SceneSpec, scene_spec
from molmoact_ros.sim.tasks import MOVE_NEXT_TO, PICK_UP, PUT_INTO, PUT_ON

OPEN_M = 0.08
HOME = np.array([0.45, 0.0, 0.30])
_LOW, _HIGH = np.array([0.30, -0.32, 0.07]), np.array([0.68, 0.32, 0.40])
_EIGHTH = math.pi / 4
_PLACING = (PUT_ON, PUT_INTO, MOVE_NEXT_TO)


@dataclass(frozen=True, eq=False)
class State:
    """estimate: true things; tool: tool centre, base frame; width: metres between the fingers.

    goal: what the state was drawn for.
    """

    spec: SceneSpec
    estimate: Estimate
    tool: Pose
    width: float
    goal: Goal


def draw_state(seed: int, jitter: float = 0.0) -> State:
    """The state of a seed; the same for the same arguments."""
    rng = np.random.default_rng([78, seed])
    spec = scene_spec(seed, camera_jitter=jitter)
    items = {
        name: Item(spec.poses[name].position, square_angle(spec.poses[name].yaw))
        for name in (*CUBES, PLATE, BOWL)
    }
    estimate = _rearranged(rng, Estimate(0.0, items))
    cube = str(rng.choice(CUBES))
    kind = rng.choice(5, p=[0.15, 0.25, 0.13, 0.38, 0.09])
    if kind == 0:
        return _far(rng, spec, estimate, cube)
    if kind == 1:
        return _near(rng, spec, estimate, cube)
    if kind == 2:
        return _grasping(rng, spec, estimate, cube)
    if kind == 3:
        return _holding(rng, spec, estimate, cube)
    return _released(rng, spec, estimate, cube)


def other_goals(rng: np.random.Generator, state: State, count: int) -> list[Goal]:
    """Further things that could be asked in the same state, most about other cubes."""
    found = [state.goal]
    for _ in range(20 * count):
        if len(found) > count:
            break
        # A held cube that nobody asked for is rare when driving: mostly ask about it.
        same = state.estimate.held is not None and rng.random() < 0.8
        goal = random_goal(rng, state.goal.item if same else str(rng.choice(CUBES)))
        if goal not in found:
            found.append(goal)
    return found[1:]


def random_goal(
    rng: np.random.Generator, cube: str, shares: Sequence[float] = (0.4, 0.2, 0.2, 0.2)
) -> Goal:
    """A goal about ``cube``; shares: of picking up, putting on, putting into, moving next to."""
    family = str(rng.choice([PICK_UP, *_PLACING], p=shares))
    others = [name for name in CUBES if name != cube]
    target = {PICK_UP: "", PUT_ON: PLATE, PUT_INTO: BOWL}.get(family, str(rng.choice(others)))
    return Goal(family, cube, target)


def _rearranged(rng: np.random.Generator, estimate: Estimate) -> Estimate:
    """Sometimes a cube already lies on the plate, in the bowl or beside another cube."""
    if rng.random() > 0.25:
        return estimate
    goal = random_goal(rng, str(rng.choice(CUBES)), (0.0, 1 / 3, 1 / 3, 1 / 3))
    return _put(rng, estimate, goal)


def _put(rng: np.random.Generator, estimate: Estimate, goal: Goal) -> Estimate:
    place = place_for(estimate, goal)
    xy = place.position[:2] + rng.normal(0.0, 0.004, 2)
    yaw = rng.uniform(-math.pi, math.pi) if place.yaw is None else place.yaw
    gone = replace(estimate, items={k: v for k, v in estimate.items.items() if k != goal.item})
    height = rest_height(gone, xy, goal.item)
    return estimate.with_item(goal.item, Item(np.array([*xy, height]), square_angle(yaw)))


def _far(rng: np.random.Generator, spec: SceneSpec, estimate: Estimate, cube: str) -> State:
    if rng.random() < 0.2:
        position, yaw = HOME + rng.normal(0.0, 0.005, 3), float(rng.normal(0.0, 0.01))
    else:
        position, yaw = rng.uniform(_LOW, _HIGH), _some_yaw(rng)
    width = OPEN_M if rng.random() < 0.85 else float(rng.uniform(0.0, OPEN_M))
    # Fingers of a cube's width would mean that they hold one.
    width = OPEN_M if 0.008 < width < 0.05 else width
    return State(spec, estimate, _down(position, yaw), width, random_goal(rng, cube))


def _near(rng: np.random.Generator, spec: SceneSpec, estimate: Estimate, cube: str) -> State:
    item = estimate.items[cube]
    away = abs(float(rng.normal(0.0, 0.035)))
    # The hand arrives turned by anything: the expert turns it only here.
    turn = float(rng.uniform(-_EIGHTH, _EIGHTH) if rng.random() < 0.5 else rng.normal(0.0, 0.06))
    position = item.position + _offset(rng, away)
    yaw = grasp_yaw(estimate, item, cube, _some_yaw(rng)) + turn
    low = 0.75 if rng.random() < 0.7 else 0.1
    position[2] += _funnel_height(away + YAW_AS_M * abs(turn)) * rng.uniform(low, 1.2)
    position[2] += abs(float(rng.normal(0.0, 0.015)))
    return State(spec, estimate, _down(position, yaw), OPEN_M, random_goal(rng, cube))


def _grasping(rng: np.random.Generator, spec: SceneSpec, estimate: Estimate, cube: str) -> State:
    """At the cube: open, closing on it, just closed, or closed on its corners."""
    item = estimate.items[cube]
    if rng.random() < 0.15:
        return _askew(rng, spec, estimate, cube)
    yaw = grasp_yaw(estimate, item, cube, _some_yaw(rng)) + float(rng.normal(0.0, 0.05))
    position = item.position + _offset(rng, abs(float(rng.normal(0.0, 0.005))))
    # A learner comes too low now and then, an expert never.
    low = rng.random() < 0.3
    position[2] += float(rng.uniform(-0.018, 0.0) if low else rng.normal(0.002, 0.005))
    tool, goal = _down(position, yaw), random_goal(rng, cube)
    stage = rng.random()
    if stage < 0.35:
        return State(spec, estimate, tool, OPEN_M, goal)
    if stage < 0.65:
        return State(spec, estimate, tool, float(rng.uniform(0.050, OPEN_M)), goal)
    return State(spec, _held(rng, estimate, cube, tool), tool, CUBE_M, goal)


def _askew(rng: np.random.Generator, spec: SceneSpec, estimate: Estimate, cube: str) -> State:
    """The fingers have closed on corners: a learner's mistake, to be undone and not waited for."""
    item = estimate.items[cube]
    turn = float(rng.uniform(0.3, _EIGHTH)) * float(rng.choice([-1.0, 1.0]))
    yaw = grasp_yaw(estimate, item, cube, _some_yaw(rng)) + turn
    position = item.position + _offset(rng, abs(float(rng.normal(0.0, 0.005))))
    position[2] += float(rng.normal(-0.004, 0.006))
    width = CUBE_M * (math.cos(turn) + abs(math.sin(turn))) + float(rng.uniform(0.0, 0.004))
    return State(spec, estimate, _down(position, yaw), width, random_goal(rng, cube))


def _holding(rng: np.random.Generator, spec: SceneSpec, estimate: Estimate, cube: str) -> State:
    """Lifting, carrying, lowering."""
    # What is carried is mostly to be put somewhere; the bowl forgives least.
    goal = random_goal(rng, cube, (0.25, 0.25, 0.33, 0.17))
    stage = rng.random()
    if goal.family == PICK_UP or stage < 0.2:
        position, yaw = rng.uniform(_LOW, _HIGH), _some_yaw(rng)
        position[2] = rng.uniform(0.02, 0.18)
        if _crowded(estimate, position[:2], cube):
            position[:2] = estimate.items[cube].xy
    elif stage < 0.35:
        position, yaw = rng.uniform(_LOW, _HIGH), _some_yaw(rng)
        position[2] = rng.uniform(0.12, 0.30)
    else:
        place = place_for(estimate, goal)
        # A chunk ends anywhere on the last 15 cm; where a learner has seen little it lets go.
        near = abs(float(rng.normal(0.0, 0.03)))
        away = near if rng.random() < 0.5 else float(rng.uniform(0.0, 0.15))
        position = place.position + _offset(rng, away)
        turn = float(rng.normal(0.0, 0.15))
        yaw = (place.yaw if place.yaw is not None else _some_yaw(rng)) + turn
        # A learner sinks too early now and then: beside the plate or the bowl's wall.
        low = 0.85 if rng.random() < 0.7 else 0.3
        position[2] += _funnel_height(away + YAW_AS_M * abs(turn)) * rng.uniform(low, 1.2)
        position[2] += abs(float(rng.normal(0.0, 0.012)))
    tool = _down(position, yaw)
    return State(spec, _held(rng, estimate, cube, tool), tool, CUBE_M, goal)


def _released(rng: np.random.Generator, spec: SceneSpec, estimate: Estimate, cube: str) -> State:
    """The cube is where it belongs, the hand lets go or rises."""
    goal = random_goal(rng, cube, (0.0, 1 / 3, 1 / 3, 1 / 3))
    place = place_for(estimate, goal)
    after = _put(rng, estimate, goal)
    yaw = place.yaw if place.yaw is not None else _some_yaw(rng)
    position = np.array([*after.items[cube].xy, place.position[2]])
    position[:2] += rng.normal(0.0, 0.004, 2)
    if rng.random() < 0.4:
        width = float(rng.uniform(0.049, 0.07))
    else:
        width, position[2] = OPEN_M, position[2] + rng.uniform(0.0, 0.21)
    return State(spec, after, _down(position, yaw), width, goal)


def _held(rng: np.random.Generator, estimate: Estimate, cube: str, tool: Pose) -> Estimate:
    """The cube between the fingers: centred along them, a little off across and in height."""
    along = float(rng.normal(0.0, 0.004))
    yaw = tool.yaw
    position = tool.position + (math.cos(yaw) * along, math.sin(yaw) * along, 0.0)
    position[2] -= float(rng.normal(0.002, 0.004))
    item = Item(position, square_angle(yaw))
    return replace(estimate.with_item(cube, item), held=cube)


def _funnel_height(error: float) -> float:
    x = (error - FUNNEL_FLAT_M) / (FUNNEL_RADIUS_M - FUNNEL_FLAT_M)
    x = min(max(x, 0.0), 1.0)
    return FUNNEL_HEIGHT_M * x * x * (3.0 - 2.0 * x)


def _crowded(estimate: Estimate, xy: Floats, cube: str) -> bool:
    return any(
        float(np.linalg.norm(item.xy - xy)) < 0.13
        for name, item in estimate.items.items()
        if name != cube
    )


def _offset(rng: np.random.Generator, away: float) -> Floats:
    angle = rng.uniform(-math.pi, math.pi)
    return np.array([away * math.cos(angle), away * math.sin(angle), 0.0])


def _some_yaw(rng: np.random.Generator) -> float:
    return float(np.clip(rng.normal(0.0, 0.5), -MAX_YAW_RAD, MAX_YAW_RAD))


def _down(position: Floats, yaw: float) -> Pose:
    """The tool looking straight down."""
    yaw = min(max(yaw, -1.5), 1.5)
    quaternion = np.array([math.cos(yaw / 2), math.sin(yaw / 2), 0.0, 0.0])
    return Pose(np.asarray(position, dtype=np.float64), quaternion)
