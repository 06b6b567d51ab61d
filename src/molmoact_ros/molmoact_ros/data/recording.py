"""One recorded episode as streams of numbers and pictures, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.resampling import Stream
from molmoact_ros.geometry import Camera, Floats, Pose


class BadEpisode(ValueError):
    """An episode that cannot become training data; goes onto the quarantine list as a sentence."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A stored picture: ``data`` as ``kind`` says: jpeg, png, rgb8, depth_png or depth16.

    Raw kinds carry ``shape`` (height, width).
    """

    kind: str
    data: bytes
    shape: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Recording:
    """pictures: camera name to stream; depth: of the first camera, or None.

    camera: pinhole model of the first camera with its pose in the base frame, None when the
    recording has no calibration. measured, commanded: tool centre in the base frame; without
    measured poses there are joints.
    gripper: command [1] in the recording's convention. width: metres between the fingers [1].
    joints: radians [7]. clean: whether a tick may be imitated [1] (0 during a disturbance);
    without samples everything may. success: None when nobody said. timeline: topic to "header"
    or "received", whose clock its stamps follow.
    """

    episode_id: str
    instruction: str
    success: bool | None
    pictures: Mapping[str, Stream[Picture]]
    measured: Stream[Pose] | None
    commanded: Stream[Pose] | None
    gripper: Stream[Floats]
    depth: Stream[Picture] | None = None
    camera: Camera | None = None
    width: Stream[Floats] | None = None
    joints: Stream[Floats] | None = None
    clean: Stream[Floats] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    timeline: Mapping[str, str] = field(default_factory=dict)


def stream_of(stamps: list[int], values: list[Floats]) -> Stream[Floats]:
    """Numbers [K] with stamps in ns, sorted by time."""
    order = np.argsort(np.asarray(stamps, dtype=np.int64), kind="stable")
    return Stream(np.asarray(stamps, dtype=np.int64)[order], [values[i] for i in order])


RgbPicture = NDArray[np.uint8]
