"""Where things are in the pictures, as labels that only training sees.

A network that must find a coloured cube by itself, from nothing but motions, needs hundreds of
thousands of demonstrations; told where things are while it learns, it needs a small share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Floats
from molmoact_ros.policy.scripted.estimate import Item
from molmoact_ros.policy.scripted.percept import BOWL, CUBES, PLATE
from molmoact_ros.sim.renderer import CameraFrame

NAMES = (*CUBES, PLATE, BOWL, "tool")
CUBE_COUNT = len(CUBES)
VALUES = 4
"""Numbers of one thing in one picture: u, v (shares of width and height), seen 0/1, angle."""

_NEARER_M, _FARTHER_M = 0.06, 0.025


@dataclass(frozen=True, eq=False)
class Landmarks:
    """By picture and thing: uv [P, 7, 2] shares of the picture, seen [P, 7], angle [P, 7] rad.

    The angle of a cube is that of its sides modulo a quarter turn: about base z in the first
    picture, from the tool's x axis in others.
    """

    uv: NDArray[np.float32]
    seen: NDArray[np.bool_]
    angle: NDArray[np.float32]


def landmarks_of(
    frames: Sequence[CameraFrame], items: Mapping[str, Item], tool: Floats, tool_yaw: float
) -> NDArray[np.float32]:
    """Flat float32 [pictures * 7 * 4] for ``EpisodeRows``. tool: tool centre [3], base frame."""
    points = np.array([*(items[name].position for name in NAMES[:-1]), tool])
    out = np.zeros((len(frames), len(NAMES), VALUES), dtype=np.float32)
    for number, frame in enumerate(frames):
        pixels, depths = frame.camera.project(points)
        height, width = frame.depth.shape
        inside = (depths > 0.02) & (pixels >= 0).all(axis=1)
        inside &= (pixels[:, 0] <= width - 1) & (pixels[:, 1] <= height - 1)
        out[number, :, :2] = (pixels + 0.5) / (width, height)
        for index in np.flatnonzero(inside):
            column, row = np.rint(pixels[index]).astype(int)
            nearer = depths[index] - float(frame.depth[row, column])
            # The tool centre lies between the fingers, which hide it: it always counts.
            shown = -_FARTHER_M < nearer < _NEARER_M or index == len(NAMES) - 1
            out[number, index, 2] = shown
        for index in range(CUBE_COUNT):
            yaw = items[NAMES[index]].yaw
            out[number, index, 3] = yaw if number == 0 else yaw - tool_yaw
    return out.reshape(-1)


def read_landmarks(flat: NDArray[np.float32]) -> Landmarks:
    """From a row of the data set. Raises ValueError for another number of values."""
    if flat.size % (len(NAMES) * VALUES):
        raise ValueError(
            f"landmarks have {flat.size} values, expected a multiple of {len(NAMES) * VALUES}; "
            "make the data again with this version"
        )
    table = flat.reshape(-1, len(NAMES), VALUES)
    return Landmarks(table[..., :2], table[..., 2] > 0.5, table[..., 3])
