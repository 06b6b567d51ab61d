"""A profile's node as a process of this machine, without ``ros2 launch``."""

from __future__ import annotations

import os
import sys

from molmoact_ros.profile import NodeSpec
from molmoact_ros.supervisor import ProcessSpec


def module_of(node: NodeSpec) -> str:
    """The Python module behind an executable of this package (setup.py's entry points)."""
    if node.executable == "sim_arm":
        return "molmoact_ros.sim.server"
    return f"molmoact_ros.nodes.{node.executable}_node"


def core_of(executable: str) -> int | None:
    """The core for a node on a computer that has two of them, else None.

    Physics and arm wake a thousand times a second and push aside whoever runs; left to the
    scheduler, a thought then waited twice as long for a core as it ran on one.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) != 2:
        return None
    return {
        "sim_arm": cores[0],
        "sim_cameras": cores[0],
        "franka": cores[0],
        "policy": cores[1],
    }.get(executable)


def process_of(node: NodeSpec) -> ProcessSpec:
    argv = (sys.executable, "-m", module_of(node), *node.arguments())
    return ProcessSpec(node.name, argv, respawn=node.respawn, core=core_of(node.executable))
