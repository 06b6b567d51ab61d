"""What counts as an observation, and what the robot says when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.frames import FrameTree, UnknownTransform
from molmoact_ros.geometry import Pose
from molmoact_ros.policy.observations import NotReady, ObservationBuffer, PoseTrack

IMAGE = np.zeros((4, 6, 3), np.uint8)
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


def filled(stamp: float = 10.0) -> ObservationBuffer:
    buffer = ObservationBuffer(("external", "wrist"))
    buffer.add_image("external", stamp, IMAGE)
    buffer.add_image("wrist", stamp, IMAGE)
    return buffer


def test_a_missing_camera_is_named() -> None:
    buffer = ObservationBuffer(("external", "wrist"))
    buffer.add_image("external", 10.0, IMAGE)
    with pytest.raises(NotReady, match="wrist camera.*remapped"):
        buffer.build(10.1, "go")


def test_a_stale_image_is_refused_with_its_age() -> None:
    with pytest.raises(NotReady, match=r"external camera.*1\.6 s old.*check"):
        filled(10.0).build(11.6, "go")


def test_cameras_that_drift_apart_are_refused() -> None:
    buffer = filled(10.0)
    buffer.add_image("external", 10.4, IMAGE)
    with pytest.raises(NotReady, match="0.40 s from the external"):
        buffer.build(10.5, "go")


def test_the_same_image_is_not_thought_about_twice() -> None:
    buffer = filled(10.0)
    assert buffer.build(10.1, "go").stamp == 10.0
    with pytest.raises(NotReady, match="new image"):
        buffer.build(10.1, "go", newer_than=10.0)


def test_depth_is_the_one_nearest_to_the_image_or_none() -> None:
    buffer = filled(10.0)
    for stamp, metres in ((9.2, 1.0), (9.99, 2.0)):
        buffer.add_depth(stamp, np.full((4, 6), metres, np.float32))
    depth = buffer.build(10.1, "go").depth
    assert depth is not None and depth[0, 0] == 2.0
    late = filled(20.0)
    late.add_depth(19.0, np.ones((4, 6), np.float32))
    assert late.build(20.1, "go").depth is None


def test_a_clock_that_jumps_back_starts_a_new_track() -> None:
    """Otherwise every later pose would be ignored until the old time is reached again."""
    track = PoseTrack()
    track.add(100.0, Pose(np.zeros(3), IDENTITY))
    track.add(5.0, Pose(np.ones(3), IDENTITY))
    pose = track.at(5.0)
    assert pose is not None and pose.position == pytest.approx(np.ones(3))


def test_frames_are_chained_in_both_directions() -> None:
    tree = FrameTree()
    tree.add("base", "link", Pose(np.array([1.0, 0, 0]), IDENTITY).matrix)
    tree.add("link", "optical", Pose(np.array([0, 2.0, 0]), IDENTITY).matrix)
    assert tree.lookup("base", "optical")[:3, 3] == pytest.approx([1, 2, 0])
    assert tree.lookup("optical", "base")[:3, 3] == pytest.approx([-1, -2, 0])
    with pytest.raises(UnknownTransform, match="static_transform_publisher"):
        tree.lookup("base", "wrist")
