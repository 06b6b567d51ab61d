"""A recording on the control clock: for every tick the pictures, the motion that follows, the tool.

Ticks lie just behind the first camera's frames, so that a frame and the motion that answers it
belong to the same instant; commanded poses win over measured ones, and those over poses from the
arm's joints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.recording import BadEpisode, Picture, Recording
from molmoact_ros.data.resampling import Stamps, Stream, clock, held, numbers_at
from molmoact_ros.data.tracks import JointTrack, PoseTrack, Track
from molmoact_ros.geometry import Camera, Floats, Pose

LONGEST_GAP = 3
"""Ticks without a fresh picture of the first camera; more and the episode is dropped."""
STALE = 1.5
"""Camera periods after which a held picture is too old to learn from."""
_PHASE = 0.1  # of a tick: a frame that comes a little late still belongs to its own tick


@dataclass(frozen=True, eq=False)
class Ticks:
    """T ticks of one episode.

    actions float32 [T, D] and states float32 [T, 7] (x y z roll pitch yaw, finger width): raw.
    uv float64 [T, 2]: the tool in the first picture as shares of its width and height, NaN where
    it is not seen. clean [T]: may be imitated. fresh [T]: no picture is too old for its tick; None:
    all are fresh. notes: how the ticks were made, for the episode's info.
    """

    episode_id: str
    instruction: str
    stamps: Stamps
    pictures: tuple[tuple[Picture, ...], ...]
    depth: tuple[Picture | None, ...]
    actions: NDArray[np.float32]
    states: NDArray[np.float32]
    uv: Floats
    clean: NDArray[np.bool_]
    fresh: NDArray[np.bool_] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stamps)

    def only(self, kept: NDArray[np.bool_]) -> Ticks:
        """The kept ticks, as neighbours."""
        index = np.flatnonzero(kept)
        return replace(
            self,
            stamps=self.stamps[index],
            pictures=tuple(tuple(camera[i] for i in index) for camera in self.pictures),
            depth=tuple(self.depth[i] for i in index),
            actions=self.actions[index],
            states=self.states[index],
            uv=self.uv[index],
            clean=self.clean[index],
            fresh=None if self.fresh is None else self.fresh[index],
        )


def make_ticks(recording: Recording, card: DataCard) -> Ticks:
    """Resample one recording. Raises BadEpisode saying what is missing or torn."""
    missing = [name for name in card.cameras if name not in recording.pictures]
    if missing:
        raise BadEpisode(
            f"no pictures of camera {missing[0]!r}; found: {', '.join(recording.pictures)}. Name "
            "the cameras of this set-up in the card, the external one first"
        )
    cameras = [recording.pictures[name] for name in card.cameras]
    tool, motion, notes = _tracks(recording, card)
    stamps = _instants(cameras, (tool, motion), card)
    index = [held(camera.stamps, stamps) for camera in cameras]
    fresh = np.ones(len(stamps), dtype=bool)
    for name, camera, chosen in zip(card.cameras, cameras, index, strict=True):
        fresh &= _fresh(name, camera, stamps, chosen)
    tools = tool.at(stamps[:-1])
    deltas = np.stack([_delta(a, b, card.delta_frame) for a, b in pairwise(motion.at(stamps))])
    # Commands are sent once, when their row starts; half a tick later this tick's is out.
    grip = held(recording.gripper.stamps, stamps[:-1] + round(0.5e9 / card.fps))
    gripper = np.stack([recording.gripper.values[max(i, 0)] for i in grip])
    kept = stamps[:-1]
    return Ticks(
        episode_id=recording.episode_id,
        instruction=recording.instruction,
        stamps=kept,
        pictures=tuple(
            tuple(camera.values[i] for i in chosen[:-1])
            for camera, chosen in zip(cameras, index, strict=True)
        ),
        depth=depth_at(recording.depth, kept),
        actions=np.concatenate([deltas, gripper], axis=1).astype(np.float32),
        states=_states(tools, recording.width, kept),
        uv=tool_uv(tools, recording.camera),
        clean=_clean_at(recording.clean, kept),
        fresh=fresh[:-1],
        notes=notes,
    )


def _tracks(recording: Recording, card: DataCard) -> tuple[Track, Track, dict[str, str]]:
    """Of the tool, of the motion to imitate, and where both come from (spec section 9: tf, fk)."""
    notes = {"action_source": card.action_source, "trace_source": card.trace_source}
    notes["timeline"] = json.dumps(dict(recording.timeline))
    tool: Track
    if recording.measured is not None and card.trace_source != "fk":
        tool = PoseTrack(recording.measured)
    elif recording.joints is not None:
        tool = JointTrack(recording.joints)
        notes["trace_source"] = "fk" if card.trace_source == "tf" else card.trace_source
    else:
        raise BadEpisode(
            "no joint states with joints 1 to 7; record them, or measured poses and set "
            "trace_source to tf"
        )
    if card.action_source == "command" and recording.commanded is not None:
        return tool, PoseTrack(recording.commanded), notes
    if recording.measured is None:
        return tool, tool, {**notes, "action_source": "fk"}
    if card.action_source == "command":
        raise BadEpisode("no commanded poses; record them or set action_source to measured")
    return tool, PoseTrack(recording.measured), notes


def tool_uv(tools: list[Pose], camera: Camera | None) -> Floats:
    """Tool centres as shares [T, 2] of width and height; NaN out of view or without calibration."""
    if camera is None:
        return np.full((len(tools), 2), np.nan)
    pixels, depth = camera.project(np.stack([tool.position for tool in tools]))
    size = np.array([camera.width, camera.height])
    inside = (depth > 0.0) & (pixels >= 0.0).all(axis=1) & (pixels <= size - 1).all(axis=1)
    return np.where(inside[:, None], pixels, np.nan) / size


def _instants(cameras: list[Stream[Picture]], tracks: tuple[Track, ...], card: DataCard) -> Stamps:
    required = [*(camera.stamps for camera in cameras), *(track.stamps for track in tracks)]
    start = max(int(stamps[0]) for stamps in required)
    end = min(int(stamps[-1]) for stamps in required)
    frames = cameras[0].stamps
    first = int(np.searchsorted(frames, start))
    if first == len(frames):
        raise BadEpisode("the cameras and the arm were never recorded at the same time")
    instants = clock(int(frames[first] + _PHASE * 1e9 / card.fps), end, card.fps)
    if len(instants) < 3:
        raise BadEpisode(f"{len(instants)} ticks are too short for an episode; record again")
    return instants


def _fresh(
    name: str, camera: Stream[Picture], stamps: Stamps, chosen: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Ticks [T] whose picture is not too old. Raises BadEpisode for a long gap."""
    stale = stamps - camera.stamps[chosen] > STALE * camera.period_ns
    longest = run = 0
    for bad in stale:
        run = run + 1 if bad else 0
        longest = max(longest, run)
    if longest > LONGEST_GAP:
        raise BadEpisode(
            f"camera {name!r} missed {longest} ticks in a row, allowed are {LONGEST_GAP}; check "
            "its cable and the computer's load, and record again"
        )
    return np.asarray(~stale)


def _delta(before: Pose, after: Pose, frame: str) -> Floats:
    if frame == "base":
        return before.delta_to(after)
    inverse = Pose.from_matrix(np.asarray(np.linalg.inv(before.matrix) @ after.matrix))
    return Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])).delta_to(inverse)


def _states(tools: list[Pose], width: Stream[Floats] | None, stamps: Stamps) -> NDArray[np.float32]:
    origin = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    poses = np.stack([origin.delta_to(tool) for tool in tools])
    fingers = numbers_at(width, stamps)[:, :1] if width else np.zeros((len(tools), 1))
    return np.concatenate([poses, fingers], axis=1).astype(np.float32)


def depth_at(depth: Stream[Picture] | None, stamps: Stamps) -> tuple[Picture | None, ...]:
    """The depth picture nearest to each instant; None where there is none near enough."""
    if depth is None:
        return (None,) * len(stamps)
    chosen = held(depth.stamps, stamps)
    # Depth may come a little after the colour picture it was aligned to.
    after = np.minimum(chosen + 1, len(depth) - 1)
    nearer = np.abs(depth.stamps[after] - stamps) < np.abs(depth.stamps[chosen] - stamps)
    chosen = np.where(nearer, after, chosen)
    fresh = np.abs(stamps - depth.stamps[chosen]) <= STALE * depth.period_ns
    return tuple(depth.values[i] if good else None for i, good in zip(chosen, fresh, strict=True))


def _clean_at(clean: Stream[Floats] | None, stamps: Stamps) -> NDArray[np.bool_]:
    if clean is None:
        return np.ones(len(stamps), dtype=bool)
    chosen = held(clean.stamps, stamps)
    values = np.array([float(value[0]) > 0.5 for value in clean.values])
    return np.where(chosen < 0, True, values[np.maximum(chosen, 0)])
