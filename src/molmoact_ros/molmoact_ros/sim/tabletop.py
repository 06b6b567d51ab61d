"""The scene as the physics process uses it: build once, lay out again for every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import mujoco
from franky_sim.mujoco_simulator import MujocoSimulator

from molmoact_ros.sim.objects import OBJECTS
from molmoact_ros.sim.scene import HOME_Q, add_tabletop, apply_spec, scene_spec


class Scene(Protocol):
    """What stands around the arm. ``objects`` are names of bodies with a free joint."""

    home_q: Sequence[float]
    objects: tuple[str, ...]

    def build(self, simulator: MujocoSimulator, seed: int, task: str | None) -> None:
        """Add everything to the tree, after ``add_robot`` and before ``start``.

        Raises ValueError as ``lay_out`` does.
        """
        ...

    def lay_out(
        self, model: mujoco.MjModel, data: mujoco.MjData, seed: int, task: str | None
    ) -> Mapping[str, Any]:
        """Put objects (never the arm) where ``seed`` and ``task`` want them.

        Returns what renderer and scorer may want to know beyond the seed, as JSON. Raises
        ValueError for a seed or task that has no scene, before anything is moved.
        """
        ...


class Tabletop:
    """``sim.scene``: four cubes, plate, bowl and distractors on a table.

    Every seed's scene suits every task, so the task changes nothing here; it travels in the
    snapshot's header for whoever scores.
    """

    home_q: Sequence[float] = HOME_Q
    objects: tuple[str, ...] = OBJECTS

    def build(self, simulator: MujocoSimulator, seed: int, task: str | None) -> None:
        add_tabletop(simulator.scene, scene_spec(seed))

    def lay_out(
        self, model: mujoco.MjModel, data: mujoco.MjData, seed: int, task: str | None
    ) -> Mapping[str, Any]:
        spec = scene_spec(seed)
        apply_spec(model, data, spec)
        return {"hidden": list(spec.hidden)}
