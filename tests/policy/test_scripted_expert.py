"""The scripted expert on a kinematic scene: no images, no physics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.scripted.estimate import Estimate, Hand, Item, carried, grip
from molmoact_ros.policy.scripted.expert import MAX_STEP_M, MAX_TURN_RAD, next_row
from molmoact_ros.policy.scripted.goals import Goal, achieved, place_for
from molmoact_ros.policy.scripted.rollout import roll
from molmoact_ros.policy.scripted.tool import followed, moved

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
HOME = Pose(np.array([0.45, 0.0, 0.30]), DOWN)
GOALS = (
    Goal("pick_up", "red_cube"),
    Goal("put_on", "red_cube", "plate"),
    Goal("put_into", "red_cube", "bowl"),
    Goal("move_next_to", "red_cube", "blue_cube"),
)


def scene(seed: int) -> Estimate:
    rng = np.random.default_rng(seed)
    spots: list[np.ndarray] = []
    while len(spots) < 6:
        spot = rng.uniform([0.38, -0.28], [0.66, 0.28])
        reach = 0.16 if len(spots) < 2 else 0.15
        if all(np.linalg.norm(spot - other) > reach for other in spots):
            spots.append(spot)
    items = {
        name: Item(np.array([*spot, 0.0 if name in ("plate", "bowl") else 0.02]), yaw)
        for name, spot, yaw in zip(
            ("plate", "bowl", "red_cube", "green_cube", "blue_cube", "yellow_cube"),
            spots,
            rng.uniform(-0.78, 0.78, 6),
            strict=True,
        )
    }
    return Estimate(0.0, items)


def play(estimate: Estimate, hand: Hand, goal: Goal, rows: int) -> list[tuple[Estimate, Hand]]:
    """Ideal world: the arm follows, fingers move 5 mm a row and stop at a cube."""
    states = []
    for _ in range(rows):
        row = next_row(estimate, hand, goal)
        command = moved(hand.command, row.delta)
        measured = followed(hand.measured, command, 0.7)
        gaps = [
            np.linalg.norm(item.position - measured.position) for item in estimate.items.values()
        ]
        floor = 0.04 if min(gaps) < 0.03 else 0.0
        width = min(0.08, hand.width + 0.005) if row.gripper >= 0.5 else hand.width - 0.005
        after = Hand(command, measured, max(width, min(hand.width, floor)))
        estimate = grip(carried(estimate, hand.measured, measured), after)
        hand = after
        states.append((estimate, hand))
    return states


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.family)
@pytest.mark.parametrize("seed", range(5))
def test_reaches_the_goal_and_then_rests(goal: Goal, seed: int) -> None:
    """Breaks when a branch of the expert livelocks or never lets go."""
    states = play(scene(seed), Hand(HOME, HOME, 0.08), goal, 220)
    estimate, hand = states[-1]
    assert achieved(estimate, goal)
    assert not next_row(estimate, hand, goal).delta.any()


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.family)
def test_every_row_stays_within_the_step_limits(goal: Goal) -> None:
    """The commander scales larger rows down, and then the arm is not where the plan says."""
    plan = roll(scene(1), Hand(HOME, HOME, 0.08), goal, rows=150)
    assert np.linalg.norm(plan.rows[:, :3], axis=1).max() <= MAX_STEP_M + 1e-9
    assert np.linalg.norm(plan.rows[:, 3:6], axis=1).max() <= MAX_TURN_RAD + 1e-6
    assert set(plan.rows[:, 6]) <= {0.0, 1.0}


def test_is_a_function_of_the_state_alone() -> None:
    """A hidden phase would make the second answer differ; imitators could not learn it."""
    estimate, goal = scene(2), GOALS[1]
    middle, hand = play(estimate, Hand(HOME, HOME, 0.08), goal, 60)[-1]
    first = next_row(middle, hand, goal)
    play(estimate, Hand(HOME, HOME, 0.08), goal, 90)
    again = next_row(middle, hand, goal)
    assert np.array_equal(first.delta, again.delta)
    assert first.gripper == again.gripper


def test_a_plan_continues_the_plan_before() -> None:
    """Thoughts overlap in time: rows 4.. of one must be rows 0.. of the next, or the arm jerks."""
    estimate, goal = scene(3), GOALS[1]
    hand = Hand(HOME, HOME, 0.08)
    long = roll(estimate, hand, goal, rows=8).rows
    command = hand.command
    for row in long[:4]:
        command = moved(command, row[:6])
    later = roll(estimate, Hand(command, command, 0.08), goal, rows=8).rows
    assert later[:4] == pytest.approx(long[4:], abs=1e-6)


def test_stays_high_until_it_is_above_the_cube() -> None:
    """Sweeping low over the table knocks other things over."""
    estimate = scene(4)
    cube = estimate.items["red_cube"]
    for _, hand in play(estimate, Hand(HOME, HOME, 0.08), GOALS[0], 60):
        if np.linalg.norm(hand.command.position[:2] - cube.xy) > 0.05:
            assert hand.command.position[2] > 0.11


def test_lifts_before_it_carries() -> None:
    """A cube dragged over the table pushes what stands in its way."""
    estimate = scene(0)
    start = estimate.items["red_cube"].xy
    goal_xy = estimate.items["plate"].xy
    carried_far = 0
    for state, _ in play(estimate, Hand(HOME, HOME, 0.08), GOALS[1], 220):
        here = state.items["red_cube"].position
        apart = min(np.linalg.norm(here[:2] - start), np.linalg.norm(here[:2] - goal_xy))
        if state.held == "red_cube" and apart > 0.05:
            carried_far += 1
            assert here[2] > 0.09
    assert carried_far > 3


def test_half_open_fingers_do_not_come_down() -> None:
    """Fingers that are still opening would land on the cube."""
    estimate = scene(1)
    above = Pose(np.array([*estimate.items["red_cube"].xy, 0.08]), DOWN)
    row = next_row(estimate, Hand(above, above, 0.02), GOALS[0])
    assert row.delta[2] > 0.0
    assert row.gripper == 1.0


def test_does_not_rise_while_the_fingers_still_open() -> None:
    """Rising with the cube between half-open fingers takes it off the plate again."""
    estimate = scene(1)
    plate = estimate.items["plate"].xy
    on_plate = Item(np.array([*plate, 0.025]))
    estimate = estimate.with_item("red_cube", on_plate)
    at = Pose(on_plate.position, DOWN)
    assert not next_row(estimate, Hand(at, at, 0.05), GOALS[1]).delta.any()
    assert next_row(estimate, Hand(at, at, 0.075), GOALS[1]).delta[2] > 0.0


def test_a_lost_cube_raises_the_open_hand_out_of_view() -> None:
    """After fingers met on nothing the camera must see the table again."""
    estimate = scene(1)
    at = Pose(estimate.items["red_cube"].position, DOWN)
    lost = grip(estimate, Hand(at, at, 0.002))
    assert "red_cube" in lost.lost
    row = next_row(lost, Hand(at, at, 0.07), GOALS[0])
    assert row.gripper == 1.0
    assert row.delta[2] > 0.0


def test_puts_down_a_cube_nobody_asked_for() -> None:
    """A goal that starts with the wrong cube in the hand must not end in an error."""
    estimate = scene(2)
    above = Pose(np.array([0.5, 0.0, 0.15]), DOWN)
    blue = Item(above.position.copy(), 0.0)
    estimate = replace(estimate.with_item("blue_cube", blue), held="blue_cube")
    end, _ = play(estimate, Hand(above, above, 0.04), GOALS[1], 400)[-1]
    assert achieved(end, GOALS[1])
    assert end.items["blue_cube"].position[2] < 0.03


def test_a_second_cube_on_the_plate_stands_beside_the_first() -> None:
    """Lowering onto the first cube crushes both."""
    estimate = scene(2)
    plate = estimate.items["plate"].xy
    estimate = estimate.with_item("green_cube", Item(np.array([*plate, 0.025]), 0.3))
    place = place_for(estimate, GOALS[1])
    apart = np.linalg.norm(place.position[:2] - plate)
    assert 0.04 < apart < 0.052
    assert place.yaw is not None


def test_beside_leaves_the_gap_free_of_fingers() -> None:
    """Fingers open along the faces: across the line that joins the two cubes."""
    estimate = scene(3)
    place = place_for(estimate, GOALS[3])
    assert place.yaw is not None
    line = place.position[:2] - estimate.items["blue_cube"].xy
    finger_axis = np.array([-np.sin(place.yaw), np.cos(place.yaw)])
    assert np.linalg.norm(line) < 0.075
    assert abs(line @ finger_axis) < 1e-6


def test_a_goal_names_a_target_that_fits() -> None:
    with pytest.raises(ValueError, match="No such goal"):
        Goal("put_on", "red_cube", "bowl")
