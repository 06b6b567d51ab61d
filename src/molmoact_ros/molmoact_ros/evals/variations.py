"""Scenes and words that differ from the demonstrations in one respect, as in the paper's study of
generalisation (arXiv 2508.07917, real-world evaluation): language, place, distractors, light; and
the cameras' mounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from molmoact_ros.geometry import Pose
from molmoact_ros.sim.layout import (
    WORKSPACE_X,
    WORKSPACE_Y,
    LightSpec,
    SceneSpec,
    minimum_distance,
    scene_spec,
)
from molmoact_ros.sim.objects import FOOTPRINTS
from molmoact_ros.sim.tasks import (
    MOVE_NEXT_TO,
    PICK_UP,
    PUT_INTO,
    PUT_ON,
    Task,
    sample_instruction,
    sample_task,
)

VARIATIONS: Final = ("none", "language", "place", "distractors", "light", "camera")

UNSEEN_WORDINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        PICK_UP: (
            "grasp the {cube} brick and hold it up",
            "please get hold of the {cube} block",
            "take the {cube} brick off the table",
        ),
        PUT_ON: (
            "carry the {cube} brick over to the plate",
            "lay the {cube} block onto the plate please",
            "transfer the {cube} cube to the plate",
        ),
        PUT_INTO: (
            "transfer the {cube} brick into the bowl",
            "carry the {cube} block to the bowl",
            "lay the {cube} cube inside the bowl please",
        ),
        MOVE_NEXT_TO: (
            "bring the {cube} brick together with the {other} brick",
            "carry the {cube} block alongside the {other} block",
            "lay the {cube} cube by the {other} cube please",
        ),
    }
)
"""None of them occurs in the demonstrations; every one means what its family means."""

_MIDDLE: Final = np.array([sum(WORKSPACE_X) / 2, sum(WORKSPACE_Y) / 2])
_WIDER: Final = 1.12


@dataclass(frozen=True)
class Trial:
    """One task in one scene: everything that a seed and a variation decide."""

    family: str
    seed: int
    variation: str
    task: Task
    instruction: str
    scene: SceneSpec


def make_trial(family: str, seed: int, variation: str = "none") -> Trial:
    """The same for the same arguments. Raises ValueError for an unknown family or variation."""
    if variation not in VARIATIONS:
        raise ValueError(f"unknown variation {variation!r}; use one of {', '.join(VARIATIONS)}")
    task = sample_task(family, seed)
    words, rng = sample_instruction(family, seed), np.random.default_rng([6, seed])
    scene = scene_spec(seed, camera_jitter=1.0 if variation == "camera" else 0.0)
    if variation == "language":
        words = _unseen(task, rng)
    elif variation == "place":
        scene = replace(scene, poses=_spread(scene))
    elif variation == "distractors":
        scene = _crowded(scene, rng)
    elif variation == "light":
        scene = replace(scene, light=_other_light(scene, rng))
    return Trial(family, seed, variation, task, words, scene)


def _unseen(task: Task, rng: np.random.Generator) -> str:
    choices = UNSEEN_WORDINGS[task.family]
    other = (task.target or "").removesuffix("_cube")
    template = choices[int(rng.integers(len(choices)))]
    return template.format(cube=task.cube.removesuffix("_cube"), other=other)


def _spread(scene: SceneSpec) -> dict[str, Pose]:
    """Everything farther from the middle than any demonstration had it, still within reach."""
    poses = dict(scene.poses)
    for name in scene.visible:
        pose = poses[name]
        xy = _MIDDLE + _WIDER * (pose.position[:2] - _MIDDLE)
        poses[name] = replace(pose, position=np.array([*xy, pose.position[2]]))
    return poses


def _crowded(scene: SceneSpec, rng: np.random.Generator) -> SceneSpec:
    """Every distractor on the table that finds a free place; demonstrations have at most two."""
    poses, hidden = dict(scene.poses), []
    for name in scene.hidden:
        standing = [other for other in poses if other not in scene.hidden or other in hidden]
        for _ in range(400):
            xy = np.array([rng.uniform(*WORKSPACE_X), rng.uniform(*WORKSPACE_Y)])
            if all(
                np.linalg.norm(xy - poses[other].position[:2]) >= minimum_distance(name, other)
                for other in standing
            ):
                spot = np.array([*xy, FOOTPRINTS[name].rest_height])
                poses[name] = replace(poses[name], position=spot)
                hidden.append(name)
                break
    left = tuple(name for name in scene.hidden if name not in hidden)
    return replace(scene, poses=poses, hidden=left)


def _other_light(scene: SceneSpec, rng: np.random.Generator) -> LightSpec:
    """Half as bright or half again, from a slope no demonstration has."""
    azimuth, slope = rng.uniform(-np.pi, np.pi), rng.uniform(0.9, 1.2)
    direction = np.array([slope * np.cos(azimuth), slope * np.sin(azimuth), -1.0])
    direction /= np.linalg.norm(direction)
    brightness = float(rng.choice([0.55, 1.35]))
    return replace(
        scene.light,
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        intensity=scene.light.intensity * brightness,
        warmth=float(rng.choice([-2.0, 2.0])),
    )
