"""Small recordings made of numbers, and data sets of them, for the tests of data/ and train/."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.dataset import finish
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.label import label_episode
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.recording import Picture, Recording
from molmoact_ros.data.resampling import Stream
from molmoact_ros.geometry import Camera, Floats, Pose, quaternion_from_rpy

FPS = 15.0
CARD = DataCard(name="test_arm", image_size=(64, 48), keep_after_grip=0.2, keep_at_end=0.2)
DOWN = np.diag([1.0, -1.0, -1.0, 1.0])


def stamps(count: int, rate: float = FPS, offset: float = 0.0) -> np.ndarray:
    """Nanoseconds."""
    return np.rint((offset + np.arange(count) / rate) * 1e9).astype(np.int64) + 10**18


def camera(width: int = 64, height: int = 48) -> Camera:
    """Looks straight down at the table from 1 m above (0.5, 0)."""
    pose = DOWN.copy()
    pose[:3, 3] = (0.5, 0.0, 1.0)
    return Camera(width, height, 60.0, 60.0, (width - 1) / 2, (height - 1) / 2, pose)


def path(count: int, seed: int = 0) -> list[Pose]:
    """A tool that goes to and fro in every direction, never resting."""
    rng = np.random.default_rng(seed)
    speed = rng.uniform(0.5, 1.5)
    t = np.arange(count) / FPS
    return [
        Pose(
            np.array([0.45, 0.04, 0.3])
            + 0.01 * np.sin(speed * np.array([5, 6, 7]) * x + [0, 1, 2]),
            quaternion_from_rpy(0.0, 0.0, 0.1 * np.sin(6 * x)),
        )
        for x in t
    ]


def picture(seed: int, width: int = 64, height: int = 48) -> Picture:
    rng = np.random.default_rng(seed)
    rgb = np.full((height, width, 3), 90, np.uint8)
    rgb[rng.integers(0, 30) :, rng.integers(0, 40) :] = rng.integers(0, 255, 3)
    return Picture("jpeg", encode_jpeg(rgb, 95))


def depth_picture(seed: int, width: int = 64, height: int = 48) -> Picture:
    rng = np.random.default_rng(seed)
    values = np.full((height, width), 900, "<u2")
    values[rng.integers(0, 24) :, rng.integers(0, 32) :] = rng.integers(500, 850)
    return Picture("depth16", values.tobytes(), (height, width))


def recording(count: int = 40, seed: int = 0, task: str = "pick up the red cube") -> Recording:
    """``count`` frames at 15 Hz of both cameras; the gripper closes in the middle."""
    when, poses = stamps(count), path(count, seed)
    frames = Stream(when, [picture(seed * 1000 + i) for i in range(count)])
    grip = [np.array([1.0]), np.array([0.0])]
    return Recording(
        episode_id=f"take {seed}",
        instruction=task,
        success=True,
        pictures={"external": frames, "wrist": frames},
        measured=Stream(when, poses),
        commanded=Stream(when, poses),
        gripper=Stream(when[[0, count // 2]], grip),
        depth=Stream(when, [depth_picture(seed * 1000 + i) for i in range(count)]),
        camera=camera(),
        width=Stream(when, [np.array([0.08])] * count),
    )


def shifted(stream: Stream[Floats], seconds: float) -> Stream[Floats]:
    return replace(stream, stamps=stream.stamps + round(seconds * 1e9))


def make_data(folder: Path, episodes: int = 4, count: int = 24, card: DataCard = CARD) -> Path:
    """A finished data set of short episodes."""
    depth = DepthLabeller()
    tasks = ("pick up the red cube", "put the green cube into the bowl")
    for seed in range(episodes):
        made = recording(count, seed, tasks[seed % 2])
        label_episode(made, folder, card, depth, f"bag {seed}")
    finish(folder, card)
    return folder
