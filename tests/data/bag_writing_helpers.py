"""Bags written by somebody else's writer, for the tests of labelling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data_helpers import camera, path, stamps
from numpy.typing import NDArray

from molmoact_ros.data.bag_source import BagTopics
from molmoact_ros.data.bag_writing import DemonstrationBag
from molmoact_ros.geometry import Floats, Pose

TOPICS = BagTopics()
NAMES = ["fr3_finger_joint1", *(f"fr3_joint{i}" for i in (2, 1, 3, 4, 5, 6, 7))]
"""As a driver may name them: not in order, fingers among them."""


def write_bag(
    folder: Path,
    name: str,
    outcome: str = "success",
    skip: str = "",
    started: str = "",
    broken: str = "",
    poses: Sequence[Pose] | None = None,
    joints: Sequence[Floats] = (),
) -> Path:
    """24 rows of both cameras, depth, poses and a closing gripper.

    skip: a topic of the cameras that is left out. broken: a topic whose last message is cut.
    poses: others than ``path``, [] for none. joints: angles [24, 7], none by default.
    """
    poses = path(24) if poses is None else poses
    rng = np.random.default_rng(1)
    custom = {"episode_id": name, "task": "pick up the red cube", "outcome": outcome}
    custom |= {"started": started} if started else {}
    with DemonstrationBag(folder / name, custom, TOPICS) as bag:
        for i, stamp in enumerate(stamps(24).tolist()):
            if i == 0:
                bag.calibration(stamp, camera(), "external_color_optical_frame")
            for _, topic in TOPICS.images:
                if topic != skip:
                    bag.colour(topic, stamp, rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
            bag.depth(TOPICS.depth, stamp, table_depth(i))
            if poses:
                bag.pose(TOPICS.measured, stamp, poses[i])
                bag.pose(TOPICS.commanded, stamp, poses[i])
            if len(joints):
                put_joints(bag, stamp, joints[i])
            bag.fingers(TOPICS.fingers, stamp, 0.08 - 0.002 * i)
            if i in (0, 12):
                bag.number(TOPICS.gripper, stamp, 1.0 if i == 0 else 0.0)
            bag.flag(TOPICS.clean, stamp, i != 20)
        if broken:
            bag._writer.write(bag._connections[broken], stamp + 1, b"\x00\x01\x00\x00\x07\x00")
    return folder / name


def table_depth(i: int) -> NDArray[np.float32]:
    """Metres [48, 64] of frame ``i``: a table that comes nearer downwards, a box on it."""
    metres = np.repeat(np.linspace(1.2, 0.6, 48, dtype=np.float32)[:, None], 64, axis=1)
    metres[10:25, 5 + i : 20 + i] = 0.5
    return metres


def put_joints(bag: DemonstrationBag, stamp: int, angles: Floats) -> None:
    """One message with the arm's joints [7] and a finger."""
    empty = np.zeros(0)
    swapped = np.array([0.02, angles[1], angles[0], *angles[2:]])
    bag._put(
        TOPICS.joints,
        stamp,
        "sensor_msgs/msg/JointState",
        header=bag._header(stamp, ""),
        name=NAMES,
        position=swapped,
        velocity=empty,
        effort=empty,
    )
