"""Recordings of an arm that follows its commands late, with a turned tool, in front of a camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from data_helpers import CARD, FPS, camera, stamps

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.dataset import finish
from molmoact_ros.data.label import label_episode
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.recording import Picture, Recording
from molmoact_ros.data.resampling import Stream
from molmoact_ros.geometry import Pose, interpolate, multiply, quaternion_from_rpy

LAG_S = 0.09
MOVE_S = 1.2
RATE = 60.0
ACTIONS_ONLY = replace(CARD, depth_source="none", keep_after_grip=0.2, keep_at_end=0.2)
_DOWN = np.array([1.0, 0.0, 0.0, 0.0])


def commanded(seconds: float, seed: int) -> list[Pose]:
    """From place to place and back with rests, tool down and turned by 40 degrees and more."""
    rng = np.random.default_rng(seed)
    turned = multiply(quaternion_from_rpy(0.0, 0.0, 0.7), _DOWN)
    pose = Pose(np.array([0.45, 0.04, 0.3]), turned)
    found: list[Pose] = []
    while len(found) < seconds * RATE:
        side = rng.choice((-1.0, 1.0), 3)
        turn = quaternion_from_rpy(*(side[::-1] * (0.05, 0.05, 0.2)))
        goal = Pose(np.array([0.48, 0.03, 0.3]) + 0.04 * side, multiply(turn, turned))
        for share in np.arange(0.0, 1.0, 1.0 / (MOVE_S * RATE)):
            found.append(interpolate(pose, goal, float(3 * share**2 - 2 * share**3)))
        pose = goal
        found += [goal] * int(rng.uniform(0.2, 0.5) * RATE)
    return found[: int(seconds * RATE)]


def followed(poses: list[Pose], lag: float = LAG_S) -> list[Pose]:
    """What a first-order arm makes of them."""
    share, here, found = 1.0 - float(np.exp(-1.0 / (RATE * lag))), poses[0], []
    for pose in poses:
        here = interpolate(here, pose, share)
        found.append(here)
    return found


def recording(seed: int, seconds: float = 4.0, late: float = 0.0) -> Recording:
    """``late``: seconds by which pictures show the past."""
    commands = commanded(seconds, seed)
    measured = followed(commands)
    times = stamps(len(commands), RATE)
    frames = stamps(int((seconds - 0.2) * FPS))
    shown = [_picture(measured, (i / FPS) - late) for i in range(len(frames))]
    pictures = Stream(frames, shown)
    grip = [np.array([1.0]), np.array([0.0])]
    return Recording(
        episode_id=f"motion {seed}",
        instruction=("pick up the red cube", "open the drawer")[seed % 2],
        success=True,
        pictures={"external": pictures, "wrist": pictures},
        measured=Stream(times, measured),
        commanded=Stream(times, commands),
        gripper=Stream(times[[0, len(times) // 2]], grip),
        camera=camera(),
        width=Stream(times, [np.array([0.08])] * len(times)),
    )


def make_motion(
    folder: Path, card: DataCard = ACTIONS_ONLY, episodes: int = 6, late: float = 0.0
) -> Path:
    """A finished data set of them."""
    for seed in range(episodes):
        label_episode(recording(seed, late=late), folder, card, None, f"bag {seed}")
    finish(folder, card)
    return folder


def _picture(measured: list[Pose], time: float) -> Picture:
    pose = measured[min(max(int(time * RATE), 0), len(measured) - 1)]
    u, v = camera().project(pose.position[None])[0][0]
    rgb = np.full((48, 64, 3), 90, np.uint8)
    rows, columns = np.mgrid[:48, :64]
    rgb[(rows - v) ** 2 + (columns - u) ** 2 < 36] = (230, 40, 40)
    return Picture("jpeg", encode_jpeg(rgb, 95))
