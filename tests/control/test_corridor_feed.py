"""A drawn path becomes a corridor only where the depth camera knows what lies under it."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.geometry import Camera
from molmoact_ros.nodes.corridor_feed import corridor_from

SIZES = {"radius_m": 0.02, "pull_m": 0.004, "height_m": 0.06}


def down_camera() -> Camera:
    """1 m above (0.5, 0, 0), looking straight down; 600 pixels a metre at the table."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], dtype=float)
    pose[:3, 3] = (0.5, 0.0, 1.0)
    return Camera(640, 480, 600.0, 600.0, 320.0, 240.0, pose)


PATH = np.array([[0.45, -0.1, 0.0], [0.5, 0.0, 0.0], [0.55, 0.1, 0.0]])
TRACE = down_camera().grid_from_pixels(down_camera().project(PATH)[0])
TABLE = np.ones((480, 640), np.float32)


def test_a_path_on_the_table_becomes_one_in_the_air_above_it() -> None:
    corridor = corridor_from(TRACE, down_camera(), TABLE, None, **SIZES)
    assert corridor is not None
    assert np.allclose(corridor.points[:, 2], 0.06, atol=1e-6)
    seen = down_camera().project(corridor.points)[0]
    assert np.allclose(seen, down_camera().project(PATH)[0], atol=0.5)
    assert (corridor.radius_m, corridor.pull_m, corridor.vertical) == (0.02, 0.004, 0.0)


def test_one_point_without_depth_and_there_is_no_corridor() -> None:
    """Half a path known would pull towards a place that was made up."""
    holed = TABLE.copy()
    x, y = (down_camera().project(PATH)[0][1]).astype(int)
    holed[y - 12 : y + 12, x - 12 : x + 12] = 0.0
    assert corridor_from(TRACE, down_camera(), holed, None, **SIZES) is None
    assert corridor_from(TRACE, down_camera(), np.zeros_like(TABLE), None, **SIZES) is None


def test_a_path_that_begins_at_the_tool_begins_where_the_tool_is() -> None:
    tool = np.array([0.46, -0.09, 0.25])
    near = corridor_from(TRACE, down_camera(), TABLE, tool, **SIZES)
    far = corridor_from(TRACE, down_camera(), TABLE, np.array([0.6, 0.2, 0.25]), **SIZES)
    assert near is not None and far is not None
    assert np.array_equal(near.points[0], tool)
    assert near.points[1] == pytest.approx(far.points[1])
    assert far.points[0][2] == pytest.approx(0.06)


def test_a_camera_below_the_path_gives_none() -> None:
    low = down_camera()
    low.base_from_optical[2, 3] = 0.3
    depth = np.full_like(TABLE, 0.3)
    assert corridor_from(TRACE, low, depth, None, **{**SIZES, "height_m": 0.35}) is None
