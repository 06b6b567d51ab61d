"""Simulated depth maps to train and test the depth VQ-VAE on.

Every map is a new random scene seen by the (jittered) external camera, with the arm in a
random reach over the table, often holding or having stacked something, passed through the
same label pipeline as at run time (``reasoning.depth_image``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from molmoact_ros.geometry import Pose
from molmoact_ros.reasoning.depth_image import relative_depth_u8
from molmoact_ros.sim.layout import SceneSpec, scene_spec
from molmoact_ros.sim.objects import BOWL, CUBE_SIZE, CUBES, PLATE, joint_name
from molmoact_ros.sim.reach import reach
from molmoact_ros.sim.renderer import SceneRenderer
from molmoact_ros.sim.scene import HOME_Q, build_model, place_objects, tcp_pose
from molmoact_ros.train.depth_shards import map_of

JITTERS = (0.0, 1.0, 3.0)
_JITTER_SHARES = (0.5, 0.35, 0.15)


def depth_metres(count: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """``count`` depth images in metres, float32 [240, 320], without noise or holes."""
    rng = np.random.default_rng([515, seed])
    first = scene_spec(0)
    model, renderer = build_model(first), SceneRenderer(first)
    data = mujoco.MjData(model)
    for _ in range(count):
        jitter = float(rng.choice(JITTERS, p=_JITTER_SHARES))
        # Scenes of training and test differ by the generator's seed, never by chance overlap.
        spec = scene_spec(int(rng.integers(0, 2**31)), camera_jitter=jitter)
        place_objects(model, data, spec)
        _move_arm(model, data, rng, spec)
        frame = renderer.render(data.qpos, spec, cameras=("external",))["external"]
        yield frame.depth
    renderer.close()


def simulated_maps(count: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """``count`` network inputs as uint8 [320, 320] (divide by 255 for the network)."""
    for metres in depth_metres(count, seed):
        yield map_of(relative_depth_u8(metres, source="sensor"))


def _move_arm(
    model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator, spec: SceneSpec
) -> None:
    """A reach somewhere useful: home, over an object, or anywhere in the workspace."""
    kind = rng.random()
    if kind < 0.08:
        position = np.array([0.45, 0.0, 0.30])
    elif kind < 0.6:
        target = spec.poses[str(rng.choice(spec.visible))].position
        height = rng.choice([0.02, 0.05, 0.12, 0.2]) + rng.uniform(0, 0.05)
        position = target + np.array([*rng.normal(0.0, 0.01, 2), height])
    else:
        position = rng.uniform((0.30, -0.35, 0.02), (0.70, 0.35, 0.45))
    tilt = Rotation.from_euler("xyz", [*rng.normal(0, 0.06, 2), rng.uniform(-1.2, 1.2)])
    down = tilt * Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    data.qpos[:7] = reach(model, data, HOME_Q, Pose(position, down.as_quat()))
    data.qpos[7:9] = rng.uniform(0.0, 0.04)
    mujoco.mj_forward(model, data)
    cube = str(rng.choice(CUBES))
    where = rng.random()
    if where < 0.35:
        data.qpos[7:9] = CUBE_SIZE / 2
        _put(data, cube, tcp_pose(data))
    elif where < 0.6:
        dish = str(rng.choice([PLATE, BOWL]))
        lift = 0.5 * CUBE_SIZE + (0.006 if dish == BOWL else 0.005)
        offset = np.array([*rng.normal(0.0, 0.008, 2), lift])
        yaw = Rotation.from_euler("z", rng.uniform(0, math.pi)).as_quat()
        _put(data, cube, Pose(spec.poses[dish].position + offset, yaw))


def _put(data: mujoco.MjData, name: str, pose: Pose) -> None:
    joint = data.joint(joint_name(name))
    joint.qpos[:3], joint.qpos[3:] = pose.position, np.roll(pose.quaternion, 1)
