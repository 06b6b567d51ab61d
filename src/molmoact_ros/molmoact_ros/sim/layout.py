"""Random scenes: where objects stand, which colours and light they have. Pure functions.

Objects stand in x 0.38..0.66, y -0.28..0.28 of the base frame, far enough apart for the
fingers (about 5 cm around a cube).
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from molmoact_ros.geometry import Pose
from molmoact_ros.sim.cameras import EXTERNAL, WRIST, CameraSetup, jittered
from molmoact_ros.sim.objects import BOWL, CUBES, DISTRACTORS, FOOTPRINTS, OBJECTS, PLATE

Rgb = tuple[float, float, float]

WORKSPACE_X = (0.38, 0.66)
WORKSPACE_Y = (-0.28, 0.28)
_FINGER_ROOM = 0.05
_DISH_ROOM = 0.025
PARKING = (-3.0, 0.0, -0.72)  # on the floor, behind the wall
_CUBE_HSV = {
    "red_cube": (0.0, 0.88, 0.80),
    "green_cube": (0.36, 0.80, 0.58),
    "blue_cube": (0.605, 0.86, 0.78),
    "yellow_cube": (0.135, 0.90, 0.90),
}
_DISTRACTOR_HSV = {
    "purple": (0.78, 0.62, 0.62),
    "orange": (0.065, 0.85, 0.92),
    "cyan": (0.50, 0.70, 0.78),
    "pink": (0.92, 0.45, 0.90),
    "brown": (0.06, 0.60, 0.38),
}


@dataclass(frozen=True)
class LightSpec:
    """Key light: unit direction it shines in, brightness 0..1, warmth -1 (cold) .. 1 (warm)."""

    direction: tuple[float, float, float]
    intensity: float
    warmth: float

    @property
    def colour(self) -> Rgb:
        i, w = self.intensity, self.warmth
        return i * (1 + 0.06 * w), i, i * (1 - 0.10 * w)


@dataclass(frozen=True)
class SceneSpec:
    """Everything a seed decides; poses are of the body origins in the base frame.

    ``colours`` are RGB 0..1; an object named in ``hidden`` is parked out of sight.
    """

    seed: int
    poses: dict[str, Pose]
    colours: dict[str, Rgb]
    hidden: tuple[str, ...]
    light: LightSpec
    table: Rgb
    wall: Rgb
    external: CameraSetup = EXTERNAL
    wrist: CameraSetup = WRIST

    @property
    def visible(self) -> tuple[str, ...]:
        """Names of the objects on the table."""
        return tuple(name for name in OBJECTS if name not in self.hidden)


def scene_spec(seed: int, camera_jitter: float = 0.0) -> SceneSpec:
    """The scene of a seed: the same numbers for the same arguments, on every machine.

    Every scene suits every task of ``sim.tasks``: all cubes, the plate and the bowl are on
    the table, and no goal holds at the start because objects stand too far apart.
    camera_jitter: see ``cameras.jittered``; 0 keeps both cameras where they are.
    Raises ValueError for a negative seed.
    """
    if seed < 0:
        raise ValueError(f"Scene seed {seed} is negative; use a whole number from 0 up.")
    # Separate streams: how many tries a layout took must not change the colours.
    looks, spots, mounts = (np.random.default_rng([20250807, seed, i]) for i in range(3))
    count = int(looks.integers(0, 3))
    shown = [str(name) for name in looks.permutation(DISTRACTORS)[:count]]
    hidden = tuple(name for name in DISTRACTORS if name not in shown)
    poses = _poses(spots, (PLATE, BOWL, *CUBES, *shown))
    for i, name in enumerate(hidden):
        where = np.add(PARKING, (0.0, 0.2 * i, FOOTPRINTS[name].rest_height))
        poses[name] = Pose(where, np.array([0.0, 0.0, 0.0, 1.0]))
    return SceneSpec(
        seed=seed,
        poses={name: poses[name] for name in OBJECTS},
        colours=_colours(looks),
        hidden=hidden,
        light=_light(looks),
        table=_hsv(looks, (0.085, 0.22, 0.80), (0.02, 0.08, 0.12)),
        wall=_hsv(looks, (0.58, 0.05, 0.80), (0.06, 0.04, 0.06)),
        external=jittered(EXTERNAL, mounts, camera_jitter),
        wrist=jittered(WRIST, mounts, camera_jitter),
    )


def minimum_distance(a: str, b: str) -> float:
    """Least distance of two objects' centres on the table so that fingers fit between."""
    room = _DISH_ROOM if {a, b} <= {PLATE, BOWL} else _FINGER_ROOM
    return FOOTPRINTS[a].radius + FOOTPRINTS[b].radius + room


def _poses(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, Pose]:
    while True:  # A random start that leaves no room for the last objects is thrown away.
        spots: dict[str, np.ndarray] = {}
        for name in names:
            spot = _free_spot(rng, name, spots)
            if spot is None:
                break
            spots[name] = spot
        else:
            return {name: _standing(rng, name, spot) for name, spot in spots.items()}


def _free_spot(
    rng: np.random.Generator,
    name: str,
    taken: dict[str, np.ndarray],
) -> np.ndarray | None:
    margin = 0.02 if name in (PLATE, BOWL) else 0.0
    for _ in range(60):
        spot = np.array(
            [
                rng.uniform(WORKSPACE_X[0] + margin, WORKSPACE_X[1] - margin),
                rng.uniform(WORKSPACE_Y[0] + margin, WORKSPACE_Y[1] - margin),
            ]
        )
        if all(
            np.linalg.norm(spot - other) >= minimum_distance(name, key)
            for key, other in taken.items()
        ):
            return spot
    return None


def _standing(rng: np.random.Generator, name: str, spot: np.ndarray) -> Pose:
    turn = Rotation.from_euler("z", float(rng.uniform(-math.pi, math.pi)))
    position = np.array([spot[0], spot[1], FOOTPRINTS[name].rest_height])
    return Pose(position, turn.as_quat())


def _colours(rng: np.random.Generator) -> dict[str, Rgb]:
    colours = {cube: _hsv(rng, _CUBE_HSV[cube], (0.012, 0.06, 0.06)) for cube in CUBES}
    colours[PLATE] = _hsv(rng, (0.12, 0.025, 0.93), (0.03, 0.02, 0.03))
    colours[BOWL] = _hsv(rng, (0.6, 0.04, 0.20), (0.05, 0.03, 0.04))
    hues = rng.permutation(sorted(_DISTRACTOR_HSV))
    for name, hue in zip(DISTRACTORS, hues, strict=False):
        colours[name] = _hsv(rng, _DISTRACTOR_HSV[str(hue)], (0.01, 0.06, 0.05))
    return colours


def _light(rng: np.random.Generator) -> LightSpec:
    azimuth, slope = rng.uniform(-math.pi, math.pi), rng.uniform(0.25, 0.7)
    direction = np.array([slope * math.cos(azimuth), slope * math.sin(azimuth), -1.0])
    direction /= np.linalg.norm(direction)
    return LightSpec(
        (float(direction[0]), float(direction[1]), float(direction[2])),
        intensity=float(rng.uniform(0.42, 0.56)),
        warmth=float(rng.uniform(-1.0, 1.0)),
    )


def _hsv(rng: np.random.Generator, centre: Rgb, spread: Rgb) -> Rgb:
    h, s, v = (c + float(rng.uniform(-d, d)) for c, d in zip(centre, spread, strict=True))
    return colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))
