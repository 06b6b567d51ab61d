"""Collects sensor messages into one consistent Observation.

The same buffer serves the live node and a replayed bag: it knows stamps (seconds,
of the sensor) and arrival times (seconds, of this machine), never a clock of its own.
A camera that repeats an old stamp is as stale as one that is silent.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera, Pose, interpolate
from molmoact_ros.policy.base import Observation

POSE_HISTORY = 400
"""Poses kept for look-ups at an image's stamp: 4 s at 100 Hz."""


class NotReady(RuntimeError):
    """No observation can be built now; the message says what is missing and what to check."""


@dataclass(frozen=True)
class Stamped:
    stamp: float
    value: NDArray[np.generic]


class PoseTrack:
    """Poses by stamp with interpolation; outside the track the nearest end is used."""

    def __init__(self, length: int = POSE_HISTORY) -> None:
        self._stamps: deque[float] = deque(maxlen=length)
        self._poses: deque[Pose] = deque(maxlen=length)

    def add(self, stamp: float, pose: Pose) -> None:
        """Later stamps only: an older one (clock jump) clears the track."""
        if self._stamps and stamp <= self._stamps[-1]:
            if stamp < self._stamps[-1] - 1.0:
                self._stamps.clear()
                self._poses.clear()
            else:
                return
        self._stamps.append(stamp)
        self._poses.append(pose)

    def at(self, stamp: float) -> Pose | None:
        """The pose [base frame] at ``stamp`` seconds, or None when nothing was received."""
        if not self._stamps:
            return None
        index = bisect_left(self._stamps, stamp)
        if index == 0:
            return self._poses[0]
        if index == len(self._stamps):
            return self._poses[-1]
        before, after = self._stamps[index - 1], self._stamps[index]
        return interpolate(
            self._poses[index - 1], self._poses[index], (stamp - before) / (after - before)
        )


class ObservationBuffer:
    """Latest images, depth, calibration and pose tracks. Thread-safe.

    slots: names of the cameras in the order the policy wants them (external first).
    max_age: seconds after which an image is stale (design: 1 s).
    max_skew: seconds that cameras of one observation may lie apart.
    needs_geometry: refuse observations without depth, calibration, tool pose or finger width.
    """

    def __init__(
        self,
        slots: tuple[str, ...],
        max_age: float = 1.0,
        max_skew: float = 0.25,
        needs_geometry: bool = False,
    ) -> None:
        self.needs_geometry = needs_geometry
        self._slots = slots
        self._max_age = max_age
        self._max_skew = max_skew
        self._images: dict[str, Stamped] = {}
        self._depths: deque[Stamped] = deque(maxlen=4)
        self._camera: Camera | None = None
        self._gripper_width: float | None = None
        self._lock = threading.Lock()
        self.measured = PoseTrack()
        self.commanded = PoseTrack()

    def add_image(self, slot: str, stamp: float, image: NDArray[np.uint8]) -> None:
        """RGB uint8 [H, W, 3] of camera ``slot``."""
        with self._lock:
            self._images[slot] = Stamped(stamp, image)

    def add_depth(self, stamp: float, depth: NDArray[np.float32]) -> None:
        """Metres [H, W] registered to the first camera."""
        with self._lock:
            self._depths.append(Stamped(stamp, depth))

    def set_camera(self, camera: Camera) -> None:
        """Calibration of the first camera."""
        with self._lock:
            self._camera = camera

    def set_gripper(self, width: float) -> None:
        with self._lock:
            self._gripper_width = width

    def add_pose(self, stamp: float, pose: Pose, *, commanded: bool = False) -> None:
        with self._lock:
            (self.commanded if commanded else self.measured).add(stamp, pose)

    def newest_stamp(self) -> float | None:
        """Stamp of the newest first image, or None."""
        with self._lock:
            first = self._images.get(self._slots[0])
            return None if first is None else first.stamp

    def newest_pictures(self) -> Observation | None:
        """The newest picture of every camera, whatever their age, or None before the first."""
        with self._lock:
            frames = [self._images.get(slot) for slot in self._slots]
        there = [frame for frame in frames if frame is not None]
        if len(there) < len(frames):
            return None
        images = tuple(np.asarray(frame.value, dtype=np.uint8) for frame in there)
        return Observation(there[0].stamp, images, "")

    def image_size(self) -> tuple[int, int] | None:
        """Pixels across and down of the newest first image, or None."""
        with self._lock:
            first = self._images.get(self._slots[0])
            return None if first is None else (first.value.shape[1], first.value.shape[0])

    def build(self, now: float, instruction: str, *, newer_than: float = 0.0) -> Observation:
        """The newest observation. Raises NotReady with what is missing and what to check."""
        with self._lock:
            frames = []
            for slot in self._slots:
                frame = self._images.get(slot)
                if frame is None:
                    raise NotReady(
                        f"no image from the {slot} camera yet: check that its driver runs and that "
                        f"'{slot}/image' is remapped to its colour topic"
                    )
                age = now - frame.stamp
                if age > self._max_age:
                    raise NotReady(
                        f"the {slot} camera's newest image is {age:.1f} s old (limit "
                        f"{self._max_age:.1f} s): check its cable, driver and clock"
                    )
                frames.append(frame)
            first = frames[0]
            if first.stamp <= newer_than:
                raise NotReady(f"waiting for a new image of the {self._slots[0]} camera")
            for slot, frame in zip(self._slots[1:], frames[1:], strict=True):
                if abs(frame.stamp - first.stamp) > self._max_skew:
                    raise NotReady(
                        f"the {slot} image lies {abs(frame.stamp - first.stamp):.2f} s from the "
                        f"{self._slots[0]} image (limit {self._max_skew:.2f} s): check both frame "
                        "rates and clocks"
                    )
            depth = min(self._depths, key=lambda d: abs(d.stamp - first.stamp), default=None)
            if depth is not None and abs(depth.stamp - first.stamp) > self._max_skew:
                if self.needs_geometry:
                    raise NotReady(
                        f"the {self._slots[0]} camera's depth lies "
                        f"{abs(depth.stamp - first.stamp):.2f} s from its colour image (limit "
                        f"{self._max_skew:.2f} s): check both frame rates and the computer's load"
                    )
                depth = None
            observation = Observation(
                stamp=first.stamp,
                images=tuple(np.asarray(f.value, dtype=np.uint8) for f in frames),
                instruction=instruction,
                depth=None if depth is None else np.asarray(depth.value, dtype=np.float32),
                camera=self._camera,
                ee_pose=self.measured.at(first.stamp),
                target_pose=self.commanded.at(first.stamp),
                gripper_width=self._gripper_width,
            )
        if self.needs_geometry:
            _check_geometry(observation, self._slots[0])
        return observation


_GEOMETRY = (
    ("depth", "aligned depth of the {} camera: start it with align_depth.enable:=true"),
    ("camera", "calibration of the {} camera: its camera_info, and its pose in /tf_static"),
    ("ee_pose", "measured tool pose: check the arm node and current_pose"),
    ("gripper_width", "finger width: check the arm node and gripper/joint_states"),
)


def _check_geometry(observation: Observation, camera: str) -> None:
    for name, remedy in _GEOMETRY:
        if getattr(observation, name) is None:
            raise NotReady("this policy needs the " + remedy.format(camera))
