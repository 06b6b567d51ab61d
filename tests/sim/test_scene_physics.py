"""The table as physics: one model for all seeds, at rest, and a cube that can be grasped."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molmoact_ros.geometry import Pose
from molmoact_ros.sim import scene
from molmoact_ros.sim.objects import (
    BOWL,
    BOWL_HEIGHT,
    CUBE_SIZE,
    OBJECTS,
    PLATE,
    PLATE_FLOOR,
    joint_name,
)
from molmoact_ros.sim.reach import reach

DOWN = np.array([1.0, 0.0, 0.0, 0.0])


class Bench:
    """The compiled scene with the arm held by joint springs and the fingers by a force."""

    def __init__(self, seed: int) -> None:
        spec = scene.scene_spec(seed)
        self.model = scene.build_model(spec)
        self.model.opt.timestep = 0.001
        self.model.actuator_gainprm[:] = 0.0
        self.model.actuator_biasprm[:] = 0.0
        self.data = mujoco.MjData(self.model)
        self.reset(seed)

    def reset(self, seed: int) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.q = np.array(scene.HOME_Q)
        self.data.qpos[:7], self.data.qpos[7:9] = self.q, 0.04
        self.finger_force = 5.0
        scene.apply_spec(self.model, self.data, scene.scene_spec(seed))

    def put(self, name: str, position: np.ndarray, yaw: float = 0.0) -> None:
        joint = self.data.joint(joint_name(name))
        quaternion = Rotation.from_euler("z", yaw).as_quat()
        joint.qpos[:3], joint.qpos[3:] = position, np.roll(quaternion, 1)
        joint.qvel[:] = 0.0

    def go(self, target: np.ndarray) -> None:
        scratch = mujoco.MjData(self.model)
        scratch.qpos[:] = self.data.qpos
        self.q = reach(self.model, scratch, self.data.qpos[:7], Pose(target, DOWN))

    def run(self, seconds: float) -> None:
        start = self.data.qpos[:7].copy()
        steps = int(seconds * 1000)
        for i in range(steps):
            goal = start + (self.q - start) * min(1.0, 1.5 * i / steps)
            pull = 1500.0 * (goal - self.data.qpos[:7]) - 100.0 * self.data.qvel[:7]
            self.data.qfrc_applied[:7] = pull + self.data.qfrc_bias[:7]
            self.data.qfrc_applied[7:9] = self.finger_force - 40.0 * self.data.qvel[7:9]
            mujoco.mj_step(self.model, self.data)


@pytest.fixture(scope="module")
def compiled() -> Bench:
    return Bench(0)


@pytest.fixture
def bench(compiled: Bench) -> Bench:
    compiled.reset(0)
    return compiled


def test_home_is_above_the_table_looking_straight_down(bench: Bench) -> None:
    """Every episode starts here; the cameras and the expert rely on it."""
    tcp = scene.tcp_pose(bench.data)
    np.testing.assert_allclose(tcp.position, scene.HOME_TCP, atol=1e-4)
    np.testing.assert_allclose(tcp.rotation.as_matrix(), np.diag([1.0, -1.0, -1.0]), atol=1e-4)


def test_one_model_serves_every_seed(bench: Bench) -> None:
    """reset(seed) in a running process must give what a fresh start with that seed gives."""
    fresh = scene.build_model(scene.scene_spec(11))
    data = mujoco.MjData(fresh)
    data.qpos[:9] = bench.data.qpos[:9]
    scene.apply_spec(fresh, data, scene.scene_spec(11))
    scene.apply_spec(bench.model, bench.data, scene.scene_spec(11))
    assert fresh.nq == bench.model.nq == 9 + 7 * len(OBJECTS)
    np.testing.assert_allclose(data.qpos, bench.data.qpos, atol=1e-9)
    for field in ("geom_rgba", "mat_rgba", "light_dir", "light_diffuse", "cam_pos", "cam_quat"):
        np.testing.assert_allclose(
            getattr(fresh, field), getattr(bench.model, field), atol=1e-6, err_msg=field
        )


def test_the_tree_already_stands_as_its_seed_says() -> None:
    """The physics process starts from the compiled start pose without applying the spec."""
    spec = scene.scene_spec(4)
    model = mujoco.MjModel.from_xml_string(ET.tostring(scene.build_tree(spec), encoding="unicode"))
    for name in OBJECTS:
        start = model.qpos0[model.joint(joint_name(name)).qposadr[0] :][:7]
        np.testing.assert_allclose(start[:3], spec.poses[name].position, atol=1e-6)
        np.testing.assert_allclose(np.roll(start[3:], -1), spec.poses[name].quaternion, atol=1e-6)


def test_reset_moves_objects_but_never_the_arm(bench: Bench) -> None:
    """Teleporting a real arm's simulation would be a jump in the measured state."""
    bench.go(np.array([0.5, 0.1, 0.25]))
    bench.run(0.2)
    before, velocity = bench.data.qpos[:9].copy(), bench.data.qvel[:9].copy()
    scene.apply_spec(bench.model, bench.data, scene.scene_spec(9))
    np.testing.assert_array_equal(bench.data.qpos[:9], before)
    np.testing.assert_array_equal(bench.data.qvel[:9], velocity)
    assert np.abs(bench.data.qvel[9:]).max() == 0.0


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_a_fresh_scene_is_at_rest(bench: Bench, seed: int) -> None:
    """Objects that creep or jump at the start would spoil perception and scoring."""
    bench.reset(seed)
    before = scene.object_poses(bench.data)
    bench.run(0.4)
    after = scene.object_poses(bench.data)
    for name in OBJECTS:
        moved = np.linalg.norm(after[name].position - before[name].position)
        assert moved < 0.001, (name, moved)


def test_a_cube_lies_on_the_plate(bench: Bench) -> None:
    """put_on expects the cube at the height of the plate's floor."""
    plate = bench.data.body(PLATE).xpos.copy()
    bench.put("blue_cube", plate + [0.02, 0.0, 0.05], yaw=0.4)
    bench.run(0.8)
    offset = bench.data.body("blue_cube").xpos - bench.data.body(PLATE).xpos
    assert offset[2] == pytest.approx(PLATE_FLOOR + CUBE_SIZE / 2, abs=0.003)
    assert np.abs(bench.data.joint(joint_name("blue_cube")).qvel).max() < 0.02
    assert np.linalg.norm(bench.data.body(PLATE).xpos - plate) < 0.005


@pytest.mark.parametrize("offset", [0.0, 0.015])
def test_a_cube_falls_into_the_bowl(bench: Bench, offset: float) -> None:
    """The bowl is hollow: a cube let go above it ends below the rim."""
    bowl = bench.data.body(BOWL).xpos.copy()
    bench.put("red_cube", bowl + [offset, 0.0, 0.08], yaw=0.3)
    bench.run(0.8)
    inside = bench.data.body("red_cube").xpos - bench.data.body(BOWL).xpos
    assert inside[2] < BOWL_HEIGHT - 0.01
    assert np.linalg.norm(inside[:2]) < 0.03
    assert bench.data.body(BOWL).xmat[8] > 0.99


def test_fingers_lift_and_hold_a_cube(bench: Bench) -> None:
    """The whole point of the contact numbers: no creeping, no squirting out."""
    spot = np.array([0.5, 0.0, CUBE_SIZE / 2])
    # An empty table corner would do too; here neighbours are moved out of the way first.
    for i, name in enumerate(OBJECTS):
        if np.linalg.norm(bench.data.body(name).xpos[:2] - spot[:2]) < 0.16:
            bench.put(name, np.array([0.4 + 0.15 * (i % 2), 0.4 + 0.02 * i, 0.05]))
    bench.put("green_cube", spot)
    bench.go(spot + [0.0, 0.0, 0.10])
    bench.run(1.0)
    bench.go(spot)
    bench.run(1.2)
    bench.finger_force = -30.0
    bench.run(0.5)
    bench.go(spot + [0.0, 0.05, 0.15])
    bench.run(1.5)
    held = bench.data.body("green_cube").xpos - scene.tcp_pose(bench.data).position
    bench.run(1.0)
    later = bench.data.body("green_cube").xpos - scene.tcp_pose(bench.data).position
    assert bench.data.body("green_cube").xpos[2] > 0.12
    assert np.linalg.norm(held) < 0.015
    assert np.linalg.norm(later - held) < 0.002
    assert bench.data.qpos[7:9].sum() == pytest.approx(CUBE_SIZE, abs=0.003)


def test_a_tree_without_an_arm_is_refused_with_the_remedy() -> None:
    root = ET.fromstring("<mujoco><asset/><visual/><worldbody/></mujoco>")
    with pytest.raises(ValueError, match="add_robot"):
        scene.add_tabletop(root, scene.scene_spec(0))
