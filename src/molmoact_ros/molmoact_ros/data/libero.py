"""LIBERO demonstrations in the layout of the no-op-filtered sets: one HDF5 file a task.

``data/demo_<n>``: actions [T, 7] (position and rotation deltas in units of the controller, gripper
-1 open, 1 closed), obs/agentview_rgb and obs/eye_in_hand_rgb uint8 [T, H, W, 3] upside down as the
simulator renders them, obs/ee_pos (metres) and obs/ee_ori (a rotation vector, not three angles) in
the base frame, obs/gripper_states (positions of both fingers). The task's words stand in the file's
attribute ``problem_info`` or, failing that, in its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.recording import Picture
from molmoact_ros.data.rows import BadData
from molmoact_ros.data.ticks import Ticks
from molmoact_ros.geometry import quaternion_from_rotvec, rpy_from_quaternion

RATE = 20.0
ACTION_UNITS = "controller: robosuite OSC_POSE, 1 is 0.05 m or 0.5 rad (rotation vector)"
"""What an episode's info says: its actions added up give no poses in metres."""
CARD = {
    "fps": RATE,
    "cameras": ["external", "wrist"],
    "gripper_raw": "-1open_1closed",
    "gripper_dims": [6],
    "delta_frame": "base",
    "euler": "xyz-extrinsic",
    "action_source": "command",
    "image_size": [256, 256],
    "idle_metres": 1e-4,
    "idle_radians": 1e-4,
    "keep_after_grip": 0.0,
    "keep_at_end": 0.0,
    "end_padding": "repeat",
    "center_crop": 0.9,
}
"""Card fields of such a set; its deltas are in units of the controller, not metres."""

_VIEWS = ("agentview_rgb", "eye_in_hand_rgb")
_SUFFIX = re.compile(r"(^[A-Z_]+SCENE\d+_)|(_demo$)")


def find_libero(folder: Path) -> list[Path]:
    """Its files by name. Raises BadData when there is none."""
    found = sorted(folder.rglob("*.hdf5"))
    if not found:
        raise BadData(f"{folder}: no .hdf5 files; give the folder of a LIBERO suite")
    return found


def read_libero(path: Path) -> Iterator[Ticks]:
    """Demonstrations of one task. Raises BadData naming file and field."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise BadData("reading LIBERO needs h5py; pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            demos = file["data"]
            task = task_words(str(demos.attrs.get("problem_info", "")), path.stem)
            names = sorted(demos, key=lambda name: int(name.rpartition("_")[2]))
            for name in names:
                yield _ticks(demos[name], f"{path.stem}/{name}", task)
    except (OSError, KeyError, ValueError) as error:
        raise BadData(f"{path}: {error}; expected data/demo_<n> with actions and obs") from error


def task_words(info: str, stem: str) -> str:
    """The instruction: from the attribute, else from the file's name."""
    try:
        words = json.loads(info).get("language_instruction", "") if info else ""
    except json.JSONDecodeError:
        words = ""
    words = " ".join(words) if isinstance(words, list) else str(words)
    words = words.strip().strip('"')
    return words or _SUFFIX.sub("", stem).replace("_", " ").strip()


def _ticks(demo: Any, name: str, task: str) -> Ticks:
    actions = np.asarray(demo["actions"], dtype=np.float32)
    views = [np.asarray(demo["obs"][view]) for view in _VIEWS]
    count = len(actions)
    if actions.ndim != 2 or any(len(view) != count for view in views):
        raise ValueError(f"{name}: actions {actions.shape}, pictures {[len(v) for v in views]}")
    return Ticks(
        episode_id=name,
        instruction=task,
        stamps=np.rint(np.arange(count) * 1e9 / RATE).astype(np.int64),
        pictures=tuple(tuple(_upright(frame) for frame in view) for view in views),
        depth=(None,) * count,
        actions=actions,
        states=_states(demo["obs"], count),
        uv=np.full((count, 2), np.nan),
        clean=np.ones(count, dtype=bool),
    )


def _upright(frame: NDArray[np.uint8]) -> Picture:
    """Turned by half a turn, as every training set made from these files is."""
    return Picture("jpeg", encode_jpeg(np.ascontiguousarray(frame[::-1, ::-1]), 95))


def _states(obs: Any, count: int) -> NDArray[np.float32]:
    """x y z roll pitch yaw and finger width [T, 7]; [T, 0] where the file has no poses."""
    if "ee_pos" not in obs or "ee_ori" not in obs:
        return np.zeros((count, 0), dtype=np.float32)
    turns = [rpy_from_quaternion(quaternion_from_rotvec(v)) for v in np.asarray(obs["ee_ori"])]
    width = np.zeros((count, 1))
    if "gripper_states" in obs:
        width = np.abs(np.asarray(obs["gripper_states"])).sum(axis=1, keepdims=True)
    parts = [np.asarray(obs["ee_pos"]), np.array(turns), width]
    return np.concatenate(parts, axis=1).astype(np.float32)
