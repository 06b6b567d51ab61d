"""The scripted expert's thoughts in states drawn at random, as rows of a labelled data set.

No row depends on another, so a thousand frames are a thousand scenes, where a thousand frames of
demonstrations are ten. Each frame is asked several goals; rows of one frame share pictures and
depth codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.label import episode_key
from molmoact_ros.data.landmarks import landmarks_of
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.row_card import row_card
from molmoact_ros.data.rows import LABELS, PICTURES, EpisodeRows, PackWriter, write_rows
from molmoact_ros.data.scatter_states import State, draw_state, other_goals
from molmoact_ros.geometry import Pose
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.policy.scripted.estimate import Hand
from molmoact_ros.policy.scripted.expert import next_row
from molmoact_ros.policy.scripted.goals import Goal
from molmoact_ros.policy.scripted.rollout import roll
from molmoact_ros.policy.scripted.tool import moved
from molmoact_ros.policy.scripted.trace import trace_of_path
from molmoact_ros.sim.objects import OBJECTS, joint_name
from molmoact_ros.sim.reach import reach
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer
from molmoact_ros.sim.scene import HOME_Q, build_model, scene_spec, tcp_pose
from molmoact_ros.sim.tasks import Task

SHARD = 64
_REACHED_M = 0.004
_LAG_ROWS = 0.6
"""The commanded pose leads the measured one by about this many rows while the arm moves."""
_FINGERS = ("robot0_finger_joint1", "robot0_finger_joint2")


@dataclass(frozen=True)
class Share:
    """Frames of seeds first..first + frames - 1, each asked ``goals`` goals."""

    out: Path
    first: int
    frames: int = SHARD
    goals: int = 3
    jitter: float = 0.0


@dataclass(frozen=True, eq=False)
class Asked:
    """One goal in one frame."""

    instruction: str
    chunk: NDArray[np.float32]
    trace: NDArray[np.uint8] | None


class Scatterer:
    """One model, one renderer and one depth tokenizer for many frames of one process."""

    def __init__(self, card: DataCard) -> None:
        spec = scene_spec(0)
        self._card = card
        self._model = build_model(spec)
        self._data = mujoco.MjData(self._model)
        self._renderer = SceneRenderer(spec, *card.image_size)
        self._codec = DepthCodec.from_package()
        self._fingers = [self._model.joint(name).qposadr[0] for name in _FINGERS]

    def close(self) -> None:
        self._renderer.close()

    def share(self, wanted: Share) -> int:
        """Write one shard of rows; how many."""
        name = f"scatter_{wanted.first:08d}"
        key = episode_key(name)
        (wanted.out / LABELS).mkdir(parents=True, exist_ok=True)
        (wanted.out / PICTURES).mkdir(exist_ok=True)
        packs = {
            camera: PackWriter(wanted.out / PICTURES / f"{key}.{camera}.pack")
            for camera in self._card.cameras
        }
        asked: list[Asked] = []
        place: list[int] = []
        codes: list[NDArray[np.uint8]] = []
        marks: list[NDArray[np.float32]] = []
        for seed in range(wanted.first, wanted.first + wanted.frames):
            made = self._frame(seed, wanted)
            if made is None:
                continue
            frames, state, found = made
            for camera, pack in packs.items():
                pack.add(encode_jpeg(frames[camera].rgb, self._card.jpeg_quality))
            code = self._codec.encode(np.rint(frames["external"].depth * 1000.0) / 1000.0)
            mark = landmarks_of(
                [frames[c] for c in self._card.cameras],
                state.estimate.items, state.tool.position, state.tool.yaw,
            )  # fmt: skip
            place += [len(set(place))] * len(found)
            codes += [code.reshape(-1)] * len(found)
            marks += [mark] * len(found)
            asked += found
        offsets = {camera: pack.close()[place] for camera, pack in packs.items()}
        chunks = np.array([one.chunk for one in asked], np.float32)
        rows = EpisodeRows(
            timestamps=np.arange(len(asked)) / self._card.fps,
            offsets=offsets,
            actions=chunks[:, 0],
            states=np.zeros((len(asked), 0), np.float32),
            depth=np.array(codes, np.uint8),
            traces=[one.trace for one in asked],
            use=np.ones(len(asked), bool),
            info={
                "instruction": "scattered states",
                "episode_id": name,
                "source": f"seeds {wanted.first}..{wanted.first + wanted.frames - 1}",
                "key": key,
                "start_ns": str(wanted.first),
                "trace_source": self._card.trace_source,
                "depth_source": self._card.depth_source,
                "card": self._card.digest,
                "row_card": row_card(self._card),
            },
            instructions=[one.instruction for one in asked],
            chunks=chunks,
            landmarks=np.array(marks, np.float32),
        )
        write_rows(wanted.out / LABELS / f"{key}.parquet", rows)
        return len(asked)

    def _frame(
        self, seed: int, wanted: Share
    ) -> tuple[dict[str, CameraFrame], State, list[Asked]] | None:
        state = draw_state(seed, wanted.jitter)
        reached = self._pose(state)
        if reached is None:
            return None
        state = replace(state, tool=reached)
        rng = np.random.default_rng([79, seed])
        frames = self._renderer.render(self._data.qpos, state.spec)
        goals = [state.goal, *other_goals(rng, state, wanted.goals - 1)]
        return frames, state, [_ask(rng, state, goal, frames["external"]) for goal in goals]

    def _pose(self, state: State) -> Pose | None:
        """Put the model into the state; the pose that the arm reached, None where it cannot."""
        data = self._data
        for name in OBJECTS:
            pose = state.spec.poses[name]
            qpos = data.joint(joint_name(name)).qpos
            qpos[:3], qpos[3:] = pose.position, np.roll(pose.quaternion, 1)
            item = state.estimate.items.get(name)
            if item is None or np.allclose(item.position[:2], pose.position[:2]):
                continue
            qpos[:2] = item.xy
            if name.endswith("_cube"):
                qpos[2] = item.position[2]
                qpos[3:] = np.cos(item.yaw / 2), 0.0, 0.0, np.sin(item.yaw / 2)
        data.qpos[self._fingers] = state.width / 2
        reach(self._model, data, HOME_Q, state.tool)
        tool = tcp_pose(data)
        far = np.linalg.norm(tool.position - state.tool.position) > _REACHED_M
        return None if far or self._touching(state.estimate.held) else tool

    def _touching(self, held: str | None) -> bool:
        """Whether the arm sticks in something: no robot ever gets there."""
        mujoco.mj_collision(self._model, self._data)
        names = [self._model.body(i).name for i in range(self._model.nbody)]
        for contact in self._data.contact[: self._data.ncon]:
            pair = [names[self._model.geom_bodyid[g]] for g in contact.geom]
            arm = [name.startswith("robot0") for name in pair]
            if contact.dist < -0.004 and sum(arm) == 1 and held not in pair:
                return True
        return False


def _ask(rng: np.random.Generator, state: State, goal: Goal, frame: CameraFrame) -> Asked:
    tool = state.tool
    resting = Hand(tool, tool, state.width)
    # Where an arm on its way is measured, its command is already a little farther.
    first = next_row(state.estimate, resting, goal)
    command = moved(tool, first.delta * _LAG_ROWS * rng.integers(0, 2))
    plan = roll(state.estimate, Hand(command, tool, state.width), goal)
    try:
        trace: NDArray[np.uint8] | None = trace_of_path(plan.path, frame.camera).astype(np.uint8)
    except ValueError:
        trace = None
    words = Task(goal.family, goal.item, goal.target or None).instruction(int(rng.integers(99)))
    return Asked(words, plan.rows.astype(np.float32), trace)
