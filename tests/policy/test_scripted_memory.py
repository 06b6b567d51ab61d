"""The scripted policy's memory: what it believes while the hand hides, holds and drops things."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.policy.scripted.estimate import Estimate, Hand
from molmoact_ros.policy.scripted.percept import Detection, Percept
from molmoact_ros.policy.scripted.scene_memory import MISSES, SceneMemory

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
SPOT = np.array([0.5, 0.0, 0.02])


def overhead() -> Camera:
    """One metre above SPOT, looking straight down."""
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = [0.5, 0.0, 1.0]
    return Camera(64, 48, 60.0, 60.0, 31.5, 23.5, pose)


HIDDEN = np.full((48, 64), 0.5, np.float32)
"""Depth of something (the hand) half way to the table."""
EMPTY = np.full((48, 64), 1.0, np.float32)
"""Depth of the bare table."""


def at(x: float, y: float, z: float, width: float = 0.08) -> Hand:
    pose = Pose(np.array([x, y, z]), DOWN)
    return Hand(pose, pose, width)


def red(position: np.ndarray = SPOT, whole: bool = True, yaw: float = 0.0) -> Percept:
    seen = Detection("red_cube", np.asarray(position, float), yaw, whole)
    return Percept(0.0, {"red_cube": seen})


NOTHING = Percept(0.0, {})
FAR = at(0.45, 0.3, 0.3)


def update(
    memory: SceneMemory, percept: Percept, hand: Hand, depth: np.ndarray = HIDDEN
) -> Estimate:
    return memory.update(percept, hand, depth, overhead())


def grasped() -> SceneMemory:
    memory = SceneMemory()
    update(memory, red(), FAR)
    update(memory, NOTHING, at(0.5, 0.0, 0.02, 0.06))
    assert update(memory, NOTHING, at(0.5, 0.0, 0.02, 0.04)).held == "red_cube"
    return memory


def test_a_hidden_cube_stays_where_it_was() -> None:
    """The hand covers the cube on every approach; forgetting it there would stop the arm."""
    memory = SceneMemory()
    update(memory, red(), FAR)
    for _ in range(10):
        estimate = update(memory, NOTHING, at(0.5, 0.0, 0.1))
    assert estimate.items["red_cube"].position == pytest.approx(SPOT)


def test_a_cube_that_is_gone_is_given_up() -> None:
    """Somebody took it: the camera sees the bare table where it should be."""
    memory = SceneMemory()
    update(memory, red(), FAR)
    for _ in range(MISSES):
        estimate = update(memory, NOTHING, FAR, EMPTY)
    assert "red_cube" not in estimate.items
    assert "red_cube" in estimate.lost


def test_averages_images_but_follows_a_cube_that_was_moved() -> None:
    """Pixel noise must not shake the target; a pushed cube must not be chased for seconds."""
    memory = SceneMemory()
    update(memory, red(), FAR)
    small = update(memory, red(SPOT + [0.006, 0.0, 0.0]), FAR).items["red_cube"].position
    assert 0.5 < small[0] < 0.504
    moved = update(memory, red(SPOT + [0.06, 0.0, 0.0]), FAR).items["red_cube"].position
    assert moved[0] == pytest.approx(0.56)


def test_half_a_cube_beside_the_fingers_does_not_shift_it() -> None:
    """A finger in front of the cube cuts its outline; its centre seems to move."""
    memory = SceneMemory()
    update(memory, red(), FAR)
    estimate = update(memory, red(SPOT + [0.01, 0.0, 0.0], whole=False), at(0.5, 0.0, 0.08))
    assert estimate.items["red_cube"].position == pytest.approx(SPOT)


def test_yaw_is_averaged_modulo_a_quarter_turn() -> None:
    """44 and -44 degrees are two degrees apart for a square."""
    memory = SceneMemory()
    update(memory, red(yaw=np.radians(44)), FAR)
    yaw = update(memory, red(yaw=np.radians(-44)), FAR).items["red_cube"].yaw
    assert np.degrees(yaw) == pytest.approx(44.8, abs=0.3)


def test_a_held_cube_travels_with_the_hand() -> None:
    memory = grasped()
    estimate = update(memory, NOTHING, at(0.6, 0.1, 0.2, 0.04))
    assert estimate.items["red_cube"].position == pytest.approx([0.6, 0.1, 0.2], abs=1e-9)


def test_a_released_cube_rests_below_the_hand() -> None:
    """It falls out of view of the camera; its place must be known at once."""
    memory = grasped()
    update(memory, NOTHING, at(0.6, 0.1, 0.06, 0.04))
    estimate = update(memory, NOTHING, at(0.6, 0.1, 0.06, 0.06))
    assert estimate.held is None
    assert estimate.items["red_cube"].position == pytest.approx([0.6, 0.1, 0.02], abs=1e-9)


def test_fingers_that_meet_hold_nothing() -> None:
    """The cube slipped out on the way: without this the empty hand goes on to the plate."""
    memory = grasped()
    estimate = update(memory, NOTHING, at(0.5, 0.0, 0.1, 0.001))
    assert estimate.held is None
    assert "red_cube" in estimate.lost
    assert "red_cube" in update(memory, red(), FAR).items


def test_a_cube_seen_on_the_table_is_not_in_the_hand() -> None:
    memory = grasped()
    estimate = update(memory, red(), at(0.6, 0.2, 0.2, 0.04))
    assert estimate.held is None
    assert estimate.items["red_cube"].position == pytest.approx(SPOT)


def test_a_cube_in_the_hand_at_the_start_is_held() -> None:
    """A goal may begin where the last one ended: with a lifted cube."""
    memory = SceneMemory()
    estimate = update(memory, red(np.array([0.5, 0.0, 0.16])), at(0.5, 0.0, 0.165, 0.04))
    assert estimate.held == "red_cube"


def test_reset_forgets() -> None:
    memory = grasped()
    memory.reset()
    assert not update(memory, NOTHING, FAR).items
