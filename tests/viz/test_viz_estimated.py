"""A trace without a depth camera: the model's own depth, scaled to the table and the tool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.geometry import Camera
from molmoact_ros.viz.colours import MODEL
from molmoact_ros.viz.estimated_depth import fit_scale, lift_estimated, workspace_plane
from molmoact_ros.viz.lift3d import lift_trace
from molmoact_ros.viz.markers import (
    Dashes,
    Label,
    LineStrip,
    dashed,
    estimated_markers,
    no_estimate,
)

LOW, HIGH = np.array([0.25, -0.3, 0.0]), np.array([0.75, 0.3, 0.7])
PLANE = workspace_plane(LOW, HIGH, 0.0)
TOOL = np.array([0.45, 0.05, 0.15])


def side_camera() -> Camera:
    """In front of the table, 1.1 m away and 0.7 m up, looking at the middle of the workspace."""
    eye, target = np.array([1.4, 0.0, 0.7]), np.array([0.45, 0.0, 0.05])
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return Camera(640, 480, 600.0, 600.0, 320.0, 240.0, pose)


def table_metres(camera: Camera) -> np.ndarray:
    """Depth [H, W] of a bare table, with the tool's surroundings at the tool's depth."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
    rays = camera.lift(pixels, np.ones(len(pixels))) - camera.base_from_optical[:3, 3]
    down = np.minimum(rays[:, 2], -0.05)
    metres = (-camera.base_from_optical[2, 3] / down).clip(0.1, 3.9).reshape(480, 640)
    (x, y), depth = camera.project(TOOL[None])[0][0].astype(int), camera.project(TOOL[None])[1][0]
    metres[y - 20 : y + 20, x - 20 : x + 20] = depth
    return metres


def as_the_model_tells_it(metres: np.ndarray) -> np.ndarray:
    """Relative inverse depth, stretched over the frame: no metres are left in it."""
    inverse = 1.0 / metres
    return (inverse - inverse.min()) / (inverse.max() - inverse.min())


def test_metres_come_back_from_a_depth_that_has_none() -> None:
    """The lifted trace lies where a depth camera would have put it, and says it is a guess."""
    camera, metres = side_camera(), table_metres(side_camera())
    trace = np.array([[100.0, 150.0], [128.0, 140.0], [160.0, 170.0]])
    true = lift_trace(trace, camera, metres)
    guess = lift_estimated(trace, camera, as_the_model_tells_it(metres), TOOL, PLANE)
    assert guess is not None and guess.valid.all()
    assert np.linalg.norm(guess.points - true.points, axis=1).max() < 0.01
    assert not guess.measured.any()


def test_things_on_the_table_do_not_pull_the_scale() -> None:
    """A quarter of the table hidden by boxes: a least-squares fit would be centimetres off."""
    camera, metres = side_camera(), table_metres(side_camera())
    metres[230:340, 80:250] *= 0.8
    trace = np.array([[150.0, 120.0], [200.0, 190.0]])
    true = lift_trace(trace, camera, metres)
    guess = lift_estimated(trace, camera, as_the_model_tells_it(metres), TOOL, PLANE)
    assert guess is not None
    assert np.linalg.norm(guess.points - true.points, axis=1).max() < 0.02


@given(offset=st.floats(-0.4, 0.4), gain=st.floats(0.5, 4.0))
@settings(max_examples=15, deadline=None)
def test_any_affine_map_of_inverse_depth_is_found(offset: float, gain: float) -> None:
    camera, metres = side_camera(), table_metres(side_camera())
    relative = (1.0 / metres - 0.5 - offset) / gain
    scale = fit_scale(relative, camera, PLANE, np.ones(len(PLANE), int))
    assert scale is not None
    assert scale.gain == pytest.approx(gain, rel=0.05)


def test_a_depth_that_contradicts_the_table_is_not_used() -> None:
    """Far for near, noise, or a flat picture: no guess is better than a wrong one."""
    camera, metres = side_camera(), table_metres(side_camera())
    trace = np.array([[100.0, 150.0], [160.0, 170.0]])
    relative = as_the_model_tells_it(metres)
    noise = np.random.default_rng(0).random(relative.shape)
    for wrong in (1.0 - relative, np.full_like(relative, 0.5)):
        assert lift_estimated(trace, camera, wrong, TOOL, PLANE) is None
    lifted = lift_estimated(trace, camera, noise, TOOL, PLANE)
    assert lifted is None or not lifted.measured.any()


def test_without_the_table_in_view_nothing_is_claimed() -> None:
    camera = side_camera()
    away = Camera(640, 480, 600.0, 600.0, 320.0, 240.0, np.eye(4))
    relative = as_the_model_tells_it(table_metres(camera))
    assert lift_estimated(np.array([[9.0, 9.0], [99.0, 99.0]]), away, relative, TOOL, PLANE) is None


def test_an_estimate_looks_different_and_says_so() -> None:
    """Dashes and words: a guess that looks measured would be believed."""
    camera, metres = side_camera(), table_metres(side_camera())
    trace = np.array([[100.0, 150.0], [160.0, 170.0]])
    guess = lift_estimated(trace, camera, as_the_model_tells_it(metres), TOOL, PLANE)
    assert guess is not None
    line, _, dashes, label = estimated_markers(guess, MODEL)
    assert isinstance(line, LineStrip) and len(line.points) == 0
    assert isinstance(dashes, Dashes) and len(dashes.edges) >= 4 and dashes.colour[3] < 0.5
    assert isinstance(label, Label) and "estimated" in label.text
    gone = no_estimate()
    assert [(m.namespace, m.id) for m in gone] == [("trace", 2), ("trace", 3)]
    assert len(gone[0].edges) == 0 and gone[1].text == ""  # type: ignore[union-attr]


def test_dashes_cover_half_of_the_line() -> None:
    line = np.array([[0.0, 0.0, 0.0], [0.24, 0.0, 0.0], [0.24, 0.12, 0.0]])
    pairs = dashed(line).reshape(-1, 2, 3)
    drawn = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=1).sum()
    assert drawn == pytest.approx(0.18)
    assert dashed(line[:1]).shape == (0, 3)
