"""What the model sees of a drawn path while the arm follows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.path_ahead import BESIDE, PathAhead
from molmoact_ros.sim.cameras import EXTERNAL

LINE = np.array([[20, 20], [100, 20], [100, 100]], np.float32)
BACK = np.array([[20, 20], [100, 60], [100, 20]], np.float32)


def length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def follow(path: PathAhead, line: np.ndarray, way: list[tuple[float, float]]) -> np.ndarray:
    left = line
    for place in way:
        left = path.left(line, np.array(place))
    return left


def test_the_part_behind_the_tool_is_gone_and_the_rest_begins_at_it() -> None:
    way = [(20 + x, 22.0) for x in range(0, 60, 15)]
    left = follow(PathAhead(), LINE, way)
    assert np.allclose(left, [[65, 22], [100, 20], [100, 100]])
    assert left.dtype == np.float32


def test_a_corner_that_is_passed_is_gone() -> None:
    way = [*((20.0 + x, 20.0) for x in range(0, 80, 20)), (100.0, 30.0), (99.0, 60.0)]
    assert np.allclose(follow(PathAhead(), LINE, way), [[99, 60], [100, 100]])


def test_at_the_end_a_stub_to_the_last_point_is_left() -> None:
    path = PathAhead()
    way = [
        *((20.0 + x, 20.0) for x in range(0, 80, 20)),
        *((100.0, 20.0 + y) for y in range(0, 81, 20)),
    ]
    left = follow(path, LINE, way)
    assert np.allclose(left[-1], [100, 100]) and length(left) < 1.0
    assert np.allclose(path.left(LINE, np.array([98.0, 99.0])), [[98, 99], [100, 100]])


def test_a_path_that_comes_back_beside_itself_is_not_cut_short() -> None:
    """Down to a cube and up again: near the cube the way up is as near as the way down."""
    path = PathAhead()
    for x in range(0, 75, 8):
        left = path.left(BACK, np.array([20.0 + x, 20.0 + x / 2]))
    assert len(left) == 3, "the corner is still ahead"


def test_a_hand_that_passes_beside_the_turn_is_led_back_to_it() -> None:
    """It came down 12 units beside the cube and is rising with the path: the cube is still due."""
    path = PathAhead()
    way = [*((20.0 + x, 20.0 + x / 2) for x in range(0, 65, 8)), (88.0, 54.0), (90.0, 48.0),
           (94.0, 40.0), (98.0, 30.0)]  # fmt: skip
    left = follow(path, BACK, way)
    assert np.allclose(left[1], BACK[1]) and len(left) == 3
    left = follow(path, BACK, [(97.0, 55.0), (99.0, 45.0)])
    assert np.allclose(left, [[99, 45], BACK[2]]), "it has been there, the way up is what is left"


def test_a_tool_that_has_not_met_the_path_sees_all_of_it() -> None:
    far = np.array([20.0, 20.0 + BESIDE + 10.0])
    assert np.allclose(PathAhead().left(LINE, far), LINE)


def test_a_new_path_starts_anew_and_the_old_one_does_not_go_back() -> None:
    path = PathAhead()
    follow(path, LINE, [(20.0 + x, 20.0) for x in range(0, 80, 20)])
    assert length(path.left(LINE, np.array([30.0, 20.0]))) < length(LINE)
    again = LINE + np.float32(1.0)
    assert length(path.left(again, np.array([21.0, 21.0]))) == pytest.approx(length(again))


def test_without_calibration_or_pose_the_whole_path_is_shown() -> None:
    camera = EXTERNAL.camera(320, 240)
    place = np.array([0.5, 0.0, 0.2])
    seen = Observation(0.0, (), "", camera=camera, ee_pose=Pose(place, np.array([1.0, 0, 0, 0])))
    tool = camera.grid_from_pixels(camera.project(place[None])[0])[0]
    line = np.array([tool, tool + 30, tool + [60, 0]], np.float32).clip(0, 255)
    ahead = np.array([tool + 15, tool + 30, tool + [60, 0]], np.float32)
    moved = np.array([tool - 15, tool + 15, tool + [60, 0]], np.float32)
    assert np.allclose(PathAhead().seen(seen, line)[0], tool, atol=1e-3)
    assert np.allclose(PathAhead().seen(seen, moved), [tool, tool + 15, tool + [60, 0]], atol=1.0)
    for unknown in (replace(seen, camera=None), replace(seen, ee_pose=None)):
        assert PathAhead().seen(unknown, ahead) is ahead
