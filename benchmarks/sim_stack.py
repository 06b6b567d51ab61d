"""Nodes of config/sim.yaml as processes, for benchmarks that score through ROS; saves results."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import rclpy

from molmoact_ros.processes import processes_of
from molmoact_ros.profile import load_profile, profile_argument
from molmoact_ros.supervisor import Supervisor

RESULTS = Path(__file__).parent / "results"
NODES = ("sim_arm", "sim_cameras", "franka", "commander", "policy")


@contextmanager
def sim_stack(
    arguments: Mapping[str, str], domain: int, names: Sequence[str] = NODES
) -> Iterator[Callable[[], None]]:
    """``names`` started on ROS domain ``domain``, rclpy up. Call what it yields now and then: it
    raises SystemExit when a process has died.
    """
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    for name in ("OMP_NUM_THREADS", "LP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    profile = load_profile("sim", arguments)
    logs = Path(tempfile.mkdtemp(prefix="stack_"))
    stack = Supervisor(processes_of(profile.node(n) for n in names), logs, lambda name, line: None)

    def check() -> None:
        for spec, code in stack.deaths():
            raise SystemExit(f"{spec.name} died with {code}; logs in {logs}")

    rclpy.init()
    try:
        stack.start()
        yield check
    finally:
        stack.stop()
        rclpy.try_shutdown()


def add_arguments(parser: argparse.ArgumentParser, policy: str, host: str, domain: int) -> None:
    """Options of every score through ROS; ``arguments_of`` reads them."""
    parser.add_argument("--policy", default=policy)
    parser.add_argument("--checkpoint", default="", help="of policy molmoact; default: packaged")
    parser.add_argument("--host", default=host)
    parser.add_argument("--domain", type=int, default=default_domain(domain))
    parser.add_argument(
        "arguments", nargs="*", metavar="NAME:=VALUE", help="of config/sim.yaml, as for ./run demo"
    )


def arguments_of(options: argparse.Namespace) -> dict[str, str]:
    """Arguments of config/sim.yaml. Raises ProfileError."""
    named = {"host": options.host, "policy": options.policy, "checkpoint": options.checkpoint}
    return named | dict(profile_argument(text) for text in options.arguments)


def default_domain(other: int) -> int:
    """ROS_DOMAIN_ID of the shell, or ``other``."""
    return int(os.environ.get("ROS_DOMAIN_ID", other))


def save(name: str, rows: Sequence[Mapping[str, object]]) -> Path:
    """``rows`` as benchmarks/results/``name``.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(list(rows), indent=1) + "\n", encoding="utf-8")
    return path
