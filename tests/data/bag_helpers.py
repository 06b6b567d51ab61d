"""Bags written by somebody else's writer, for the tests of labelling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from data_helpers import camera, path, stamps

from molmoact_ros.data.bag_source import BagTopics
from molmoact_ros.data.bag_writing import DemonstrationBag

TOPICS = BagTopics()


def write_bag(
    folder: Path,
    name: str,
    outcome: str = "success",
    skip: str = "",
    started: str = "",
    broken: str = "",
) -> Path:
    """24 rows of both cameras, depth, poses and a closing gripper.

    skip: a topic of the cameras that is left out. broken: a topic whose last message is cut.
    """
    rng = np.random.default_rng(1)
    custom = {"episode_id": name, "task": "pick up the red cube", "outcome": outcome}
    custom |= {"started": started} if started else {}
    with DemonstrationBag(folder / name, custom, TOPICS) as bag:
        for i, (stamp, pose) in enumerate(zip(stamps(24).tolist(), path(24), strict=True)):
            if i == 0:
                bag.calibration(stamp, camera(), "external_color_optical_frame")
            for _, topic in TOPICS.images:
                if topic != skip:
                    bag.colour(topic, stamp, rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
            bag.depth(TOPICS.depth, stamp, np.full((48, 64), 0.5 + 0.01 * i, np.float32))
            bag.pose(TOPICS.measured, stamp, pose)
            bag.pose(TOPICS.commanded, stamp, pose)
            bag.fingers(TOPICS.fingers, stamp, 0.08 - 0.002 * i)
            if i in (0, 12):
                bag.number(TOPICS.gripper, stamp, 1.0 if i == 0 else 0.0)
            bag.flag(TOPICS.clean, stamp, i != 20)
        if broken:
            bag._writer.write(bag._connections[broken], stamp + 1, b"\x00\x01\x00\x00\x07\x00")
    return folder / name
