"""Rotations agree with scipy for any input; a sign error here drives an arm wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from molmoact_ros.geometry import (
    Camera,
    Pose,
    interpolate,
    quaternion_from_rotvec,
    quaternion_from_rpy,
    rotation_matrix,
    rotvec_from_quaternion,
)

angles = st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3)
small = st.lists(st.floats(-0.5, 0.5), min_size=6, max_size=6)


def pose(rpy: list[float], position: tuple[float, float, float] = (0.4, 0.1, 0.3)) -> Pose:
    return Pose(np.array(position), Rotation.from_euler("xyz", rpy).as_quat())


def same_rotation(a: Rotation, b: Rotation) -> bool:
    return bool((a * b.inv()).magnitude() < 1e-7)


@given(angles)
def test_euler_angles_are_extrinsic_xyz(rpy: list[float]) -> None:
    ours = quaternion_from_rpy(*rpy)
    assert same_rotation(Rotation.from_quat(ours), Rotation.from_euler("xyz", rpy))
    assert rotation_matrix(ours) == pytest.approx(
        Rotation.from_euler("xyz", rpy).as_matrix(), abs=1e-9
    )


@given(st.lists(st.floats(-1.8, 1.8), min_size=3, max_size=3))
def test_rotation_vectors_there_and_back(vector: list[float]) -> None:
    ours = quaternion_from_rotvec(np.array(vector))
    assert same_rotation(Rotation.from_quat(ours), Rotation.from_rotvec(vector))
    if np.linalg.norm(vector) < 3.1:
        assert rotvec_from_quaternion(ours) == pytest.approx(vector, abs=1e-7)
        assert rotvec_from_quaternion(-ours) == pytest.approx(vector, abs=1e-7)


@given(angles, small)
def test_a_delta_turns_about_the_base_axes(rpy: list[float], delta: list[float]) -> None:
    start = pose(rpy)
    moved = start.moved(np.array(delta))
    expected = Rotation.from_euler("xyz", delta[3:]) * Rotation.from_euler("xyz", rpy)
    assert same_rotation(moved.rotation, expected)
    assert moved.position == pytest.approx(start.position + delta[:3])


@given(angles, small)
def test_delta_to_undoes_moved(rpy: list[float], delta: list[float]) -> None:
    start = pose(rpy)
    assert start.delta_to(start.moved(np.array(delta))) == pytest.approx(delta, abs=1e-7)


@given(angles, angles, st.floats(0.0, 1.0))
def test_interpolation_is_slerp_the_short_way(
    first: list[float], second: list[float], fraction: float
) -> None:
    a, b = pose(first), pose(second)
    between = interpolate(a, b, fraction)
    assert float(np.linalg.norm(between.quaternion)) == pytest.approx(1.0)
    if a.angle_to(b) < 3.0:  # at half a turn both ways are equally short
        expected = Slerp([0, 1], Rotation.concatenate([a.rotation, b.rotation]))(fraction)
        assert (between.rotation * expected.inv()).magnitude() < 1e-6


def test_interpolation_outside_the_two_poses_is_an_error() -> None:
    with pytest.raises(ValueError, match="outside"):
        interpolate(pose([0, 0, 0]), pose([0, 0, 1]), 1.01)


@given(angles, angles)
def test_angle_to_is_the_magnitude_of_the_rotation(first: list[float], second: list[float]) -> None:
    a, b = pose(first), pose(second)
    assert a.angle_to(b) == pytest.approx((b.rotation * a.rotation.inv()).magnitude(), abs=1e-6)


@given(angles)
def test_matrix_round_trip(rpy: list[float]) -> None:
    a = pose(rpy)
    assert Pose.from_matrix(a.matrix).delta_to(a) == pytest.approx(np.zeros(6), abs=1e-7)


@given(st.floats(-3.1, 3.1))
def test_yaw_is_that_of_the_tools_x_axis(yaw: float) -> None:
    turn = Rotation.from_euler("z", yaw) * Rotation.from_euler("x", np.pi)
    down = Pose(np.zeros(3), turn.as_quat())
    assert down.yaw == pytest.approx(yaw, abs=1e-9)


def test_a_point_is_lifted_from_where_it_is_projected_to() -> None:
    eye = Pose(np.array([1.0, 0.4, 0.7]), Rotation.from_euler("xyz", [2.2, 0.1, 1.9]).as_quat())
    camera = Camera(320, 240, 300.0, 300.0, 159.5, 119.5, eye.matrix)
    points = np.array([[0.4, 0.0, 0.1], [0.5, -0.2, 0.05]])
    pixels, depth = camera.project(points)
    assert camera.lift(pixels, depth) == pytest.approx(points)
    assert camera.grid_from_pixels(np.array([[320.0, 240.0]])) == pytest.approx(
        np.array([[255.0, 255.0]])
    )
