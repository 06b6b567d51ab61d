"""Simulated depth maps to train and test the depth VQ-VAE on.

Every map is a new random scene seen by the (jittered) external camera, with the arm in a
random reach over the table, often holding or having stacked something, passed through the
same label pipeline as at run time (``reasoning.depth_image``). Run it as a program:
``python -m molmoact_ros.train.depth_maps --count 4000 --out ~/.cache/molmoact_ros/maps.npz``.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from molmoact_ros.geometry import Pose
from molmoact_ros.reasoning.depth_image import relative_depth_u8, vqvae_input
from molmoact_ros.sim.layout import SceneSpec, scene_spec
from molmoact_ros.sim.objects import BOWL, CUBE_SIZE, CUBES, PLATE, joint_name
from molmoact_ros.sim.reach import reach
from molmoact_ros.sim.renderer import SceneRenderer
from molmoact_ros.sim.scene import HOME_Q, build_model, place_objects, tcp_pose

logger = logging.getLogger(__name__)

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


def depth_pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """``count`` network inputs as uint8 [N, 320, 320] (divide by 255 for the network)."""
    pictures = np.empty((count, 320, 320), dtype=np.uint8)
    for i, metres in enumerate(depth_metres(count, seed)):
        grey = vqvae_input(relative_depth_u8(metres, source="sensor"))
        pictures[i] = np.round(grey[0, 0] * 255.0).astype(np.uint8)
        if (i + 1) % 500 == 0:
            logger.info("depth maps: %d of %d", i + 1, count)
    return pictures


def save_pictures(path: Path, pictures: NDArray[np.uint8]) -> None:
    """Write a compressed npz in one step, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(suffix=".npz", dir=path.parent)
    os.close(handle)
    np.savez_compressed(scratch, pictures=pictures)
    os.replace(scratch, path)


def load_pictures(path: Path) -> NDArray[np.uint8]:
    """Read what ``save_pictures`` wrote. Raises ValueError for anything else."""
    with np.load(path, allow_pickle=False) as archive:
        pictures = archive["pictures"]
    if pictures.dtype != np.uint8 or pictures.ndim != 3 or pictures.shape[1:] != (320, 320):
        raise ValueError(
            f"{path} holds {pictures.dtype} {pictures.shape}, expected uint8 [N, 320, 320]; "
            "delete it and run molmoact_ros.train.depth_maps again."
        )
    return np.asarray(pictures)


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


def main() -> None:
    """Write a training or test set."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    save_pictures(arguments.out, depth_pictures(arguments.count, arguments.seed))
    logger.info("wrote %s", arguments.out)


if __name__ == "__main__":
    main()
