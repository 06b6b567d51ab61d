"""Traces on pictures and in space: points must be where the model put them."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.viz.chunk_path import chunk_path
from molmoact_ros.viz.colours import CLAMPED, GRIPPER_CLOSED, GRIPPER_OPEN, MODEL, WORKSPACE
from molmoact_ros.viz.lift3d import lift_trace
from molmoact_ros.viz.markers import chunk_markers, trace_markers, workspace_box
from molmoact_ros.viz.trace_view import (
    EXECUTED_STYLE,
    HUMAN_STYLE,
    MODEL_STYLE,
    draw_overlay,
    draw_trace,
    grid_to_pixels,
)

GREY = np.full((480, 640, 3), 128, np.uint8)


def down_camera(height: float = 1.0) -> Camera:
    """A camera ``height`` above (0.5, 0, 0), looking straight down."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], dtype=float)
    pose[:3, 3] = (0.5, 0.0, height)
    return Camera(640, 480, 600.0, 600.0, 320.0, 240.0, pose)


def test_grid_points_scale_with_width_and_height_separately() -> None:
    """The 0..255 grid is stretched over the picture (data contract), never letterboxed."""
    assert grid_to_pixels(np.array([[255, 255], [127.5, 0]]), 640, 480).tolist() == [
        [640, 480],
        [320, 0],
    ]


def test_drawing_leaves_the_camera_picture_alone() -> None:
    """The same array goes to the policy; a trace drawn into it would steer the model."""
    before = GREY.copy()
    drawn = draw_trace(GREY, np.array([[50, 50], [200, 200]]), MODEL_STYLE)
    assert (before == GREY).all()
    assert (drawn != GREY).any()


def test_each_kind_of_trace_has_its_colour_at_its_place() -> None:
    """Cyan, orange and white are how an operator tells plan, wish and fact apart."""
    lines = {"model": 60, "human": 130, "executed": 200}
    traces = {name: np.array([[20, y], [128, y], [240, y]]) for name, y in lines.items()}
    out = draw_overlay(GREY, **traces).astype(int)
    rows = {name: round(y / 255 * 480) for name, y in lines.items()}
    red, green, blue = out[rows["model"], 520]
    assert blue > 180 and green > 160 and red < 90
    red, green, blue = out[rows["human"], 520]
    assert red > 200 and blue < 110
    assert (out[rows["executed"], 560] > 200).all()
    assert (out[300, 320] == 128).all()


@pytest.mark.parametrize("style", [MODEL_STYLE, HUMAN_STYLE, EXECUTED_STYLE])
def test_any_trace_is_drawn_without_complaint(style: object) -> None:
    """Models put points on and beyond the border; the overlay must not take the viewer down."""
    rng = np.random.default_rng(1)
    for count in range(6):
        points = rng.uniform(-4000, 4000, (count, 2))
        out = draw_trace(GREY[:120, :160], points, style)  # type: ignore[arg-type]
        assert out.shape == (120, 160, 3)
    assert (draw_trace(GREY, np.zeros((0, 2)), MODEL_STYLE) == GREY).all()


def test_a_damaged_trace_or_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Thought\.trace"):
        draw_trace(GREY, np.array([[1, np.nan]]), MODEL_STYLE)
    with pytest.raises(ValueError, match="convert it first"):
        draw_trace(GREY[..., 0], np.zeros((2, 2)), MODEL_STYLE)


def test_lifting_puts_points_exactly_where_the_depth_says() -> None:
    """A trace over a flat table must come back as that table's points, to a tenth of a mm."""
    camera = down_camera()
    wanted = np.array([[0.5, 0.0, 0.0], [0.6, 0.2, 0.0], [0.35, -0.3, 0.0]])
    pixels, _ = camera.project(wanted)
    depth = np.ones((480, 640), np.float32)
    lifted = lift_trace(camera.grid_from_pixels(pixels), camera, depth)
    assert lifted.valid.all() and lifted.measured.all()
    assert np.abs(lifted.points - wanted).max() < 1e-4


def test_single_wrong_pixels_do_not_move_a_point() -> None:
    """Stereo depth has speckles and holes; a mean would throw the point metres away."""
    camera = down_camera()
    depth = np.ones((480, 640), np.float32)
    depth[239, 319], depth[240, 321], depth[241, 320] = 3.9, 0.0, np.nan
    lifted = lift_trace(np.array([[127.5, 127.5]]), camera, depth)
    assert lifted.measured.all()
    assert abs(lifted.points[0, 2]) < 1e-6


def test_without_depth_the_plane_then_the_neighbour_then_nothing() -> None:
    """A point is never invented: what cannot be known is not valid, and NaN."""
    camera = down_camera()
    point = np.array([[127.5, 127.5]])
    on_plane = lift_trace(point, camera, None, plane_z=0.2)
    assert on_plane.valid.all() and not on_plane.measured.any()
    assert np.allclose(on_plane.points[0], [0.5, 0.0, 0.2])
    hole = np.ones((480, 640), np.float32)
    hole[230:250, 310:330] = 0.0
    beside = lift_trace(point, camera, hole)
    assert beside.valid.all() and not beside.measured.any()
    assert np.allclose(beside.points[0, 2], 0.0)
    nothing = lift_trace(point, camera, np.zeros((480, 640), np.float32))
    assert not nothing.valid.any() and np.isnan(nothing.points).all()
    assert lift_trace(np.zeros((0, 2)), camera, hole).points.shape == (0, 3)


def test_depth_of_another_camera_is_refused() -> None:
    """Unaligned depth would lift every point to a wrong place without a sign of it."""
    with pytest.raises(ValueError, match="align_depth"):
        lift_trace(np.zeros((1, 2)), down_camera(), np.ones((240, 320), np.float32))
    with pytest.raises(ValueError, match="odd"):
        lift_trace(np.zeros((1, 2)), down_camera(), None, window=4)


def test_a_chunk_is_summed_in_the_base_frame() -> None:
    """After a turn of the tool, dx still means the base's x (card field delta_frame: base)."""
    start = Pose(np.array([0.4, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))
    rows = np.zeros((3, 7))
    rows[0, 5], rows[1, 0], rows[2, 2], rows[:, 6] = np.pi / 2, 0.01, -0.02, [1, 1, 0]
    path = chunk_path(start, rows)
    assert len(path.poses) == 4
    assert np.allclose(path.positions[-1], [0.41, 0.0, 0.28])
    assert np.isclose(path.poses[-1].delta_to(start.moved(rows[0, :6]))[5], 0.0)
    assert path.gripper.tolist() == [1, 1, 0]
    assert len(chunk_path(start, np.zeros((0, 7))).poses) == 1
    with pytest.raises(ValueError, match="expected"):
        chunk_path(start, np.zeros((3, 8)))
    with pytest.raises(ValueError, match="NaN"):
        chunk_path(start, np.full((1, 7), np.nan))


def test_markers_say_gripper_progress_and_certainty() -> None:
    """Colour is the gripper, clear is done, half clear is guessed: RViz shows all three."""
    start = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    rows = np.zeros((4, 7))
    rows[:, 0], rows[:, 6] = 0.01, [1, 1, 0, 0]
    line, dots = chunk_markers(chunk_path(start, rows), executed_rows=1)
    assert line.points.shape == (5, 3) and len(line.colours) == 5
    assert dots.points.shape == (4, 3) and len(dots.colours) == 4
    assert dots.colours[1] == GRIPPER_OPEN.rgba(1.0)
    assert dots.colours[3] == GRIPPER_CLOSED.rgba(1.0)
    assert dots.colours[0][3] < 0.5 < dots.colours[1][3]
    empty, _ = chunk_markers(chunk_path(start, np.zeros((0, 7))))
    assert len(empty.points) == 0 and len(empty.colours) == 0
    lifted = lift_trace(np.array([[127.5, 127.5]]), down_camera(), None, plane_z=0.0)
    strip, _ = trace_markers(lifted, MODEL)
    assert strip.colours == (MODEL.rgba(0.45),)


def test_the_workspace_box_has_twelve_edges_and_turns_red() -> None:
    low, high = np.array([0.25, -0.45, 0.01]), np.array([0.75, 0.45, 0.70])
    box = workspace_box(low, high)
    assert box.edges.shape == (24, 3)
    assert (box.edges.min(axis=0) == low).all() and (box.edges.max(axis=0) == high).all()
    assert len({tuple(sorted((tuple(a), tuple(b)))) for a, b in box.edges.reshape(12, 2, 3)}) == 12
    assert box.colour[:3] == WORKSPACE.rgba()[:3]
    assert workspace_box(low, high, clamped=True).colour[:3] == CLAMPED.rgba()[:3]
    with pytest.raises(ValueError, match="low < high"):
        workspace_box(high, low)
