"""Success of a policy in simulation, by ground truth, through ROS topics and franky alone.

    ./run shell python benchmarks/success.py --seeds 10            (about 20 minutes)

Starts the stack of config/sim.yaml once, headless. Every trial lays out the scene of its seed,
puts the arm home, gives the instruction through the action, and judges the cubes' true poses.
Prints a table with 95 % intervals and writes benchmarks/results/success_<policy>.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from molmoact_msgs.srv import SelectSource
from rclpy.executors import SingleThreadedExecutor
from sim_stack import add_arguments, arguments_of, save, sim_stack
from std_srvs.srv import Trigger

from molmoact_ros.evals.score import Scorer
from molmoact_ros.evals.table import success_table
from molmoact_ros.nodes.watch_node import run_task
from molmoact_ros.nodes.watcher import Watcher
from molmoact_ros.sim.control_channel import SimControl
from molmoact_ros.sim.tasks import FAMILIES, sample_instruction

POLICY = 1


class Bench:
    """One running stack and the person that gives it tasks."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.control = SimControl(host)
        self.watcher = Watcher("", film=False, tell=False)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.watcher)
        client = self.watcher.create_client
        self._disarm = client(Trigger, "franka/disarm")
        self._arm = client(Trigger, "franka/arm")
        self._recover = client(Trigger, "franka/recover")
        self._reset = client(Trigger, "commander/reset")
        self._select = client(SelectSource, "commander/select_source")

    def ready(self, check: Callable[[], None]) -> None:
        end = time.monotonic() + 90.0
        while missing := self.watcher.not_ready():
            if time.monotonic() > end:
                raise SystemExit(f"the stack did not come up: no {missing}")
            self.executor.spin_once(timeout_sec=0.1)
            check()

    def lay_out(self, seed: int, family: str) -> None:
        """Scene of the seed, arm at home, commander on the policy."""
        self._call(self._disarm)
        self._settle(0.5)
        self.control.reset(seed, family, home=True)
        self._settle(0.5)
        # Where the last trial ended in reflexes; refused, and no harm, where it did not.
        self._call(self._recover)
        self._call(self._arm)
        self._call(self._reset)
        answer = self._call(self._select, SelectSource.Request(source=POLICY))
        assert answer.accepted, answer.message
        self._settle(1.0)

    def trial(self, family: str, seed: int, seconds: float) -> dict[str, object]:
        self.lay_out(seed, family)
        return self.follow(family, seed, seconds)

    def follow(self, family: str, seed: int, seconds: float) -> dict[str, object]:
        """The task of the seed from where everything is now."""
        instruction = sample_instruction(family, seed)
        self.watcher.record.instruction = instruction
        self.watcher.record.thoughts.clear()
        self.watcher.refused = 0
        result = run_task(self.watcher, self.executor, Scorer(self.host, instruction), seconds)
        return {
            "family": family,
            "seed": seed,
            "instruction": instruction,
            **result,
            "thoughts": len(self.watcher.record.thoughts),
            "refused": self.watcher.refused,
        }

    def _settle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)

    def _call(self, client, request=None):  # type: ignore[no-untyped-def]
        # A request to a service that is not discovered yet would be lost.
        if not client.wait_for_service(timeout_sec=15.0):
            raise SystemExit(f"no {client.srv_name} on this ROS domain")
        future = client.call_async(request or Trigger.Request())
        self.executor.spin_until_future_complete(future, timeout_sec=15.0)
        if not future.done():
            raise SystemExit(f"{client.srv_name} did not answer")
        return future.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--seconds", type=float, default=60.0)
    add_arguments(parser, "scripted", "127.0.3.1", 63)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    with sim_stack(arguments_of(options), options.domain) as check:
        bench = Bench(options.host)
        bench.ready(check)
        for family in options.families:
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                row = bench.trial(family, seed, options.seconds)
                rows.append(row)
                mark = "ok  " if row["success"] else "FAIL"
                print(f"{mark} {family} seed {seed} {row['seconds']} s: {row['instruction']}"
                      f" ({row['message']})", flush=True)  # fmt: skip
                check()
    print(success_table(rows))
    print(f"wrote {save(f'success_{options.policy}', rows)}", file=sys.stderr)


if __name__ == "__main__":
    main()
