"""The scripted policy under a drawn path: what the camera sees of the tool runs along the line."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.scripted.estimate import Hand
from molmoact_ros.policy.scripted.sketch import STEP_M, SketchFollower, lifted
from molmoact_ros.sim.cameras import EXTERNAL

CAMERA = EXTERNAL.camera(320, 240)
DOWN = np.array([1.0, 0.0, 0.0, 0.0])


def hand_at(position: list[float], width: float = 0.08) -> Hand:
    pose = Pose(np.array(position), DOWN)
    return Hand(pose, pose, width)


def grid(points: np.ndarray) -> np.ndarray:
    pixels, _ = CAMERA.project(points)
    return CAMERA.grid_from_pixels(pixels)


def follow(points: np.ndarray, hand: Hand, thoughts: int = 60) -> np.ndarray:
    """Tool centres [N, 3] when four rows of every thought are carried out exactly."""
    follower, path = SketchFollower(), [hand.command.position]
    for _ in range(thoughts):
        plan = follower.plan(points, CAMERA, hand, 8)
        for row in plan.rows[:4]:
            pose = hand.command.moved(row[:6])
            hand = Hand(pose, pose, hand.width)
            path.append(pose.position)
    return np.array(path)


def test_the_tool_ends_where_the_line_ends_and_keeps_its_height() -> None:
    corners = np.array([[0.45, 0.0, 0.2], [0.5, 0.15, 0.2], [0.6, 0.1, 0.2], [0.6, -0.15, 0.2]])
    path = follow(grid(corners), hand_at([0.45, 0.0, 0.2]))
    assert np.linalg.norm(path[-1] - corners[-1]) < 0.004
    assert np.abs(path[:, 2] - 0.2).max() < 1e-6


def test_the_tool_runs_along_the_line_not_across_its_corners() -> None:
    corners = np.array([[0.45, -0.1, 0.2], [0.45, 0.15, 0.2], [0.6, 0.15, 0.2]])
    path = follow(grid(corners), hand_at([0.45, -0.1, 0.2]))
    line = np.concatenate(
        [np.linspace(a, b, 200) for a, b in zip(corners[:-1], corners[1:], strict=True)]
    )
    off = np.linalg.norm(path[:, None] - line[None], axis=2).min(axis=1)
    assert off.max() < STEP_M


def test_a_path_that_crosses_itself_is_gone_once_and_forward() -> None:
    """By the nearest point alone, the tool would leave the loop where it crosses."""
    loop = np.array(
        [[0.45, -0.1, 0.2], [0.45, 0.1, 0.2], [0.6, 0.1, 0.2], [0.6, 0.0, 0.2], [0.35, 0.0, 0.2]]
    )
    path = follow(grid(loop), hand_at([0.45, -0.1, 0.2]), thoughts=120)
    for corner in loop[1:]:
        assert np.linalg.norm(path - corner, axis=1).min() < 0.015
    assert np.linalg.norm(path[-1] - loop[-1]) < 0.004


def test_no_row_is_longer_than_the_commander_allows() -> None:
    points = grid(np.array([[0.35, -0.3, 0.3], [0.65, 0.3, 0.3]]))
    plan = SketchFollower().plan(points, CAMERA, hand_at([0.45, 0.2, 0.3]), 8)
    assert plan.rows.shape == (8, 7) and plan.path.shape == (9, 3)
    assert np.linalg.norm(plan.rows[:, :3], axis=1).max() < 0.0135


@pytest.mark.parametrize(("width", "gripper"), [(0.08, 1.0), (0.04, 0.0), (0.0, 0.0)])
def test_the_fingers_stay_as_they_are(width: float, gripper: float) -> None:
    """A path moves; it neither grasps nor drops."""
    points = grid(np.array([[0.45, 0.0, 0.2], [0.5, 0.15, 0.2]]))
    plan = SketchFollower().plan(points, CAMERA, hand_at([0.45, 0.0, 0.2], width), 8)
    assert (plan.rows[:, 6] == gripper).all()


def test_a_line_beyond_the_table_ends_at_its_edge() -> None:
    """Above the horizon a line of sight never comes down; the arm must not fly off after it."""
    corners = np.array([[0.0, 0.0], [255.0, 0.0], [0.0, 255.0], [255.0, 255.0], [128.0, 0.0]])
    places = lifted(corners, CAMERA, 0.3)
    assert np.isfinite(places).all()
    assert (places[:, 0] >= 0.28).all() and (places[:, 0] <= 0.72).all()
    assert (np.abs(places[:, 1]) <= 0.40).all()
    assert (places[:, 2] == 0.3).all()


def test_a_new_path_is_followed_from_its_start() -> None:
    follower, hand = SketchFollower(), hand_at([0.45, 0.0, 0.2])
    first = grid(np.array([[0.45, 0.0, 0.2], [0.45, 0.2, 0.2]]))
    second = grid(np.array([[0.45, 0.0, 0.2], [0.45, -0.2, 0.2]]))
    left = follower.plan(first, CAMERA, hand, 8).rows[:, 1].sum()
    right = follower.plan(second, CAMERA, hand, 8).rows[:, 1].sum()
    assert left > 0.05 and right < -0.05
