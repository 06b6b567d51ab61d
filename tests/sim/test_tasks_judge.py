"""When a task counts as done: by true poses, held for half a second, and let go."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molmoact_ros.geometry import Pose
from molmoact_ros.sim.judge import Judge, Truth, clearance, verdict, what_is_missing
from molmoact_ros.sim.snapshot import SceneHeader, Snapshot
from molmoact_ros.sim.tasks import Task

LIFT = Task("pick_up", "red_cube")
ON = Task("put_on", "red_cube", "plate")
INTO = Task("put_into", "red_cube", "bowl")
BESIDE = Task("move_next_to", "red_cube", "blue_cube")


def pose(x: float, y: float, z: float, roll: float = 0.0) -> Pose:
    return Pose(np.array([x, y, z]), Rotation.from_euler("x", roll).as_quat())


def truth(
    time: float = 0.0,
    red: Pose | None = None,
    tcp: Pose | None = None,
    width: float = 0.08,
    **others: Pose,
) -> Truth:
    objects = {
        "red_cube": red or pose(0.4, 0.2, 0.02),
        "blue_cube": pose(0.5, -0.2, 0.02),
        "plate": pose(0.6, 0.0, 0.0),
        "bowl": pose(0.45, 0.0, 0.0),
        **others,
    }
    return Truth(time, objects, tcp or pose(0.45, 0.0, 0.3), width)


def episode(moment: Truth, seconds: float = 0.6) -> list[Truth]:
    times = np.arange(0.0, seconds + 1e-9, 0.05)
    return [Truth(float(t), moment.objects, moment.tcp, moment.gripper_width) for t in times]


HELD = truth(red=pose(0.4, 0.2, 0.12), tcp=pose(0.4, 0.2, 0.12), width=0.04)
ON_PLATE = truth(red=pose(0.63, 0.02, 0.025))
IN_BOWL = truth(red=pose(0.455, 0.0, 0.027))
NEIGHBOURS = truth(red=pose(0.5, -0.13, 0.02))


@pytest.mark.parametrize(
    ("task", "moment"), [(LIFT, HELD), (ON, ON_PLATE), (INTO, IN_BOWL), (BESIDE, NEIGHBOURS)]
)
def test_a_goal_that_lasts_is_success(task: Task, moment: Truth) -> None:
    assert what_is_missing(task, moment) == ""
    assert verdict(task, episode(moment)).success
    assert not verdict(task, episode(moment, seconds=0.3)).success
    assert not verdict(task, [*episode(truth()), moment]).success


@pytest.mark.parametrize("task", [LIFT, ON, INTO, BESIDE])
def test_no_goal_holds_at_the_start(task: Task) -> None:
    result = verdict(task, episode(truth()))
    assert not result.success
    assert "red cube" in result.words


@pytest.mark.parametrize(
    ("task", "moment", "words"),
    [
        # 7 cm up at the centre is 5 cm at the lowest corner only while the cube is level.
        (LIFT, truth(red=pose(0.4, 0.2, 0.069), tcp=pose(0.4, 0.2, 0.07), width=0.04), "above"),
        (
            LIFT,
            truth(red=pose(0.4, 0.2, 0.075, roll=0.78), tcp=pose(0.4, 0.2, 0.07), width=0.04),
            "above",
        ),
        # Lying on something high is not being held.
        (LIFT, truth(red=pose(0.4, 0.2, 0.12)), "does not hold"),
        (ON, truth(red=pose(0.675, 0.0, 0.025)), "from the middle of the plate"),
        (ON, truth(red=pose(0.63, 0.0, 0.065)), "does not lie on the plate"),
        (ON, truth(red=pose(0.63, 0.0, 0.025), tcp=pose(0.63, 0, 0.03), width=0.04), "holds"),
        (INTO, truth(red=pose(0.45, 0.0, 0.07)), "not down in the bowl"),
        (INTO, truth(red=pose(0.51, 0.0, 0.03)), "from the middle of the bowl"),
        (INTO, truth(red=pose(0.45, 0.0, 0.027), tcp=pose(0.45, 0, 0.05), width=0.04), "holds"),
        (BESIDE, truth(red=pose(0.5, -0.115, 0.02)), "8 cm is close enough"),
        (BESIDE, truth(red=pose(0.5, -0.19, 0.06)), "both stand on the table"),
        (BESIDE, truth(red=pose(0.5, -0.14, 0.02), tcp=pose(0.5, -0.14, 0.02), width=0.04), "hol"),
    ],
)
def test_near_misses_are_failures_and_say_why(task: Task, moment: Truth, words: str) -> None:
    """A generous judge would make the 9 of 10 mean nothing."""
    result = verdict(task, episode(moment))
    assert not result.success
    assert words in result.words


def test_open_fingers_around_the_cube_count_as_released() -> None:
    moment = truth(red=pose(0.63, 0.0, 0.025), tcp=pose(0.63, 0.0, 0.03), width=0.075)
    assert verdict(ON, episode(moment)).success


def test_the_goal_follows_a_plate_that_was_pushed() -> None:
    moved = truth(red=pose(0.5, 0.1, 0.025), plate=pose(0.5, 0.12, 0.0))
    assert verdict(ON, episode(moved)).success


def test_a_cube_that_slides_across_the_plate_is_not_there_yet() -> None:
    moments = [
        Truth(t, truth(red=pose(0.56 + 0.1 * t, 0.0, 0.025)).objects, pose(0.4, 0, 0.3), 0.08)
        for t in np.arange(0.0, 0.7, 0.05)
    ]
    result = verdict(ON, moments)
    assert not result.success
    assert "still moves" in result.words


def test_the_judge_keeps_a_success_and_starts_over_on_reset() -> None:
    """A cube knocked off afterwards does not undo the episode; old moments never count."""
    judge = Judge(ON)
    for moment in episode(ON_PLATE, seconds=0.4):
        judge.update(moment)
    assert not judge.verdict.success
    # Simulated time jumps back when the simulator restarts.
    for moment in episode(ON_PLATE, seconds=0.3):
        assert not judge.update(moment).success
    for moment in episode(ON_PLATE, seconds=0.7)[6:]:
        judge.update(moment)
    assert judge.verdict.success
    assert judge.update(truth(time=5.0)).success


def test_no_moment_is_no_success() -> None:
    assert not verdict(LIFT, []).success


def test_clearance_is_measured_at_the_lowest_corner() -> None:
    assert clearance(pose(0, 0, 0.02)) == pytest.approx(0.0)
    assert clearance(pose(0, 0, 0.1, roll=np.pi / 4)) == pytest.approx(0.1 - 0.02 * np.sqrt(2))


def test_truth_reads_a_snapshot() -> None:
    """Finger width is the sum of both finger joints, wherever qpos holds them."""
    header = SceneHeader(
        host="127.0.0.1",
        pid=1,
        nq=4,
        seed=0,
        generation=1,
        task=None,
        objects=("red_cube",),
        joints={"robot0_finger_joint1": 3, "robot0_finger_joint2": 1},
    )
    objects = {"red_cube": pose(0.4, 0, 0.02)}
    qpos = np.array([9.0, 0.02, 9.0, 0.021])
    snapshot = Snapshot(1, 2.5, 0, qpos, pose(0.45, 0, 0.3), objects, header)
    moment = Truth.of(snapshot)
    assert moment.time == 2.5
    assert moment.gripper_width == pytest.approx(0.041)
    assert moment.objects["red_cube"] is objects["red_cube"]
