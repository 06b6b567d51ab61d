"""A profile's node as a process of this machine, without ``ros2 launch``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from molmoact_ros.profile import NodeSpec
from molmoact_ros.supervisor import ProcessSpec


def module_of(node: NodeSpec) -> str:
    """The Python module behind an executable of this package (setup.py's entry points)."""
    if node.executable == "sim_arm":
        return "molmoact_ros.sim.server"
    return f"molmoact_ros.nodes.{node.executable}_node"


def cores_of(nodes: Sequence[NodeSpec]) -> dict[str, int]:
    """Node name -> core, for a computer that has two and a model that thinks on them.

    Physics and arm wake a thousand times a second and push aside whoever runs; left to the
    scheduler, a thought then waited twice as long for a core as it ran on one. Empty where nothing
    needs it: without a thought, two cores for whoever is ready are better than one each.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) != 2 or not any(_thinks_here(node) for node in nodes):
        return {}
    keeps_time, thinks = cores
    place = {
        "sim_arm": keeps_time,
        "sim_cameras": keeps_time,
        "franka": keeps_time,
        "policy": thinks,
    }
    return {node.name: place[node.executable] for node in nodes if node.executable in place}


def process_of(node: NodeSpec, core: int | None = None) -> ProcessSpec:
    """``node`` as a process, on ``core`` only where one is given."""
    argv = (sys.executable, "-m", module_of(node), *node.arguments())
    return ProcessSpec(node.name, argv, respawn=node.respawn, core=core)


def processes_of(nodes: Iterable[NodeSpec]) -> list[ProcessSpec]:
    """Every node as a process, on the core it should have where that matters."""
    nodes = tuple(nodes)
    cores = cores_of(nodes)
    return [process_of(node, cores.get(node.name)) for node in nodes]


def _thinks_here(node: NodeSpec) -> bool:
    values = dict(node.parameters)
    return node.executable == "policy" and values.get("policy") == "molmoact"
