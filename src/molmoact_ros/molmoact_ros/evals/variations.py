"""Scenes and words that differ from the demonstrations in one respect, as in the paper's study of
generalisation (arXiv 2508.07917, real-world evaluation): language, place, distractors, light; and
the cameras' mounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from molmoact_ros.geometry import Floats, Pose
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

SIDE_X: Final = (0.30, 0.54)
SIDE_Y: Final = (0.36, 0.42)
"""Beside the area in which demonstrations and scattered states have things at rest; within the
arm's reach and the external camera's view. Metres; y to the left or to the right.
"""
_TRIES: Final = 400


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
        scene = _moved_out(scene, task, rng)
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


def _moved_out(scene: SceneSpec, task: Task, rng: np.random.Generator) -> SceneSpec:
    """What the task is about stands where demonstrations and scattered states have nothing."""
    asked = [name for name in (task.target, task.cube) if name]
    poses = dict(scene.poses)
    standing = {name: poses[name] for name in scene.visible if name not in asked}

    def beside() -> tuple[float, float]:
        return rng.uniform(*SIDE_X), rng.choice([-1.0, 1.0]) * rng.uniform(*SIDE_Y)

    for name in asked:
        spot = _free_spot(name, standing, beside)
        if spot is None:
            raise ValueError(f"seed {scene.seed} has no room for {name} beside the others")
        poses[name] = standing[name] = replace(poses[name], position=spot)
    return replace(scene, poses=poses)


def _crowded(scene: SceneSpec, rng: np.random.Generator) -> SceneSpec:
    """Every distractor on the table that finds a free place; demonstrations have at most two."""
    poses, left = dict(scene.poses), []
    standing = {name: poses[name] for name in scene.visible}
    for name in scene.hidden:
        spot = _free_spot(
            name, standing, lambda: (rng.uniform(*WORKSPACE_X), rng.uniform(*WORKSPACE_Y))
        )
        if spot is None:
            left.append(name)
        else:
            poses[name] = standing[name] = replace(poses[name], position=spot)
    return replace(scene, poses=poses, hidden=tuple(left))


def _free_spot(
    name: str, standing: Mapping[str, Pose], draw: Callable[[], tuple[float, float]]
) -> Floats | None:
    """A place [3] at rest that fingers reach; None where many draws find none."""
    for _ in range(_TRIES):
        xy = np.array(draw())
        if all(
            np.linalg.norm(xy - pose.position[:2]) >= minimum_distance(name, other)
            for other, pose in standing.items()
        ):
            return np.array([*xy, FOOTPRINTS[name].rest_height])
    return None


def _other_light(scene: SceneSpec, rng: np.random.Generator) -> LightSpec:
    """Half as bright or half again, from lower and colder or warmer than any demonstration."""
    azimuth, slope = rng.uniform(-np.pi, np.pi), rng.uniform(0.9, 1.2)
    direction = np.array([slope * np.cos(azimuth), slope * np.sin(azimuth), -1.0])
    direction /= np.linalg.norm(direction)
    brightness = float(rng.choice([0.5, 1.5]))
    return replace(
        scene.light,
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        intensity=scene.light.intensity * brightness,
        warmth=float(rng.choice([-2.0, 2.0])),
    )
