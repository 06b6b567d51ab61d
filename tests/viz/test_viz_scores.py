"""Numbers about thoughts: each belongs to the right chunk, the right time and a real motion."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.geometry import Camera
from molmoact_ros.viz.scores import Scores


def down_camera() -> Camera:
    """1 m above (0.5, 0, 0), looking straight down; 600 pixels a metre at the table."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], dtype=float)
    pose[:3, 3] = (0.5, 0.0, 1.0)
    return Camera(640, 480, 600.0, 600.0, 320.0, 240.0, pose)


def trace_along(camera: Camera, points: np.ndarray) -> np.ndarray:
    return camera.grid_from_pixels(camera.project(points)[0])


WAY = np.linspace([0.4, 0.0, 0.0], [0.6, 0.0, 0.0], 11)


def moved(scores: Scores, way: np.ndarray, start: float = 10.0) -> None:
    for index, place in enumerate(way):
        scores.tool(start + 0.1 * index, place)


def test_a_motion_beside_its_trace_is_as_wrong_as_it_is_far() -> None:
    """2 cm beside the line, seen from 1 m with f = 600: 12 pixels, of the chunk that said so."""
    camera, scores = down_camera(), Scores()
    scores.thought(7, 10.0, trace_along(camera, WAY), None, camera)
    assert scores.numbers() == {}
    moved(scores, WAY + (0.0, 0.02, 0.0))
    scores.thought(8, 11.0, trace_along(camera, WAY), None, camera)
    assert scores.trace_error_px == pytest.approx(12.0, abs=0.01)
    assert scores.numbers()["trace_error_chunk"] == 7


def test_what_was_done_before_or_after_a_thought_is_not_its_fault() -> None:
    camera, scores = down_camera(), Scores()
    moved(scores, WAY + (0.0, 0.2, 0.0), start=8.0)
    scores.thought(1, 10.0, trace_along(camera, WAY), None, camera)
    moved(scores, WAY, start=10.0)
    moved(scores, WAY + (0.0, 0.2, 0.0), start=11.2)
    scores.thought(2, 11.1, trace_along(camera, WAY), None, camera)
    assert scores.trace_error_px == pytest.approx(0.0, abs=1e-6)


def test_an_arm_that_stood_says_nothing() -> None:
    """In shadow mode the tool stands on its trace's first point: 0 pixels, and worth nothing."""
    camera, scores = down_camera(), Scores()
    scores.thought(1, 10.0, trace_along(camera, WAY), None, camera)
    moved(scores, np.repeat(WAY[:1], 11, axis=0))
    scores.thought(2, 11.0, trace_along(camera, WAY), None, camera)
    assert scores.trace_error_px is None


def test_a_refused_thought_is_not_judged() -> None:
    camera, scores = down_camera(), Scores()
    scores.thought(1, 10.0, np.zeros((0, 2)), None, camera)
    moved(scores, WAY)
    scores.thought(2, 11.0, trace_along(camera, WAY), None, camera)
    assert scores.trace_error_px is None


def test_depth_is_compared_with_the_picture_that_was_thought_about() -> None:
    """A model that thinks for five seconds must not be judged by where the arm is by then."""
    then = np.tile(np.linspace(0.4, 1.6, 320, dtype=np.float32), (240, 1))
    scores = Scores()
    for step in range(30):
        now = then if step == 3 else then[:, ::-1]
        scores.sensor_depth(10.0 + 0.3 * step, np.ascontiguousarray(now))
    scores.thought(5, 10.9, np.zeros((0, 2)), 1.0 / then, None)
    assert scores.depth_agreement is not None and scores.depth_agreement > 0.99
    assert scores.numbers()["depth_agreement_chunk"] == 5


def test_without_depth_of_that_time_there_is_no_agreement() -> None:
    then = np.tile(np.linspace(0.4, 1.6, 320, dtype=np.float32), (240, 1))
    scores = Scores()
    scores.sensor_depth(20.0, then)
    scores.thought(5, 10.0, np.zeros((0, 2)), 1.0 / then, None)
    assert scores.depth_agreement is None
