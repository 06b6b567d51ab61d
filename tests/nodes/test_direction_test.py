"""The direction test against the simulated arm: eight steps, one answer each, one record."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("franky", reason="needs franky-control, see requirements/sim.txt")
pytest.importorskip("franky_sim", reason="needs franky-sim, see requirements/sim.txt")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from arm_bench import arm_bench, rows
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from molmoact_ros.control.direction import STEPS
from molmoact_ros.nodes.direction_test_command import converse
from molmoact_ros.nodes.direction_test_node import DirectionTestNode

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


def test_the_policy_moves_only_after_the_guided_test_was_passed(tmp_path: Path) -> None:
    """The first motion of a new set-up must be one that a person watches."""
    record = tmp_path / "direction.json"
    with arm_bench(extra={"commander": {"direction_record": str(record)}}) as bench:
        person = bench.person
        person.think(rows(dy=-0.004), goal="too early")
        assert person.wait(lambda: "molmoact direction-test" in person.command.reason, 10.0)
        assert not person.command.enabled
        person.call("commander/reset")

        node = DirectionTestNode()
        node.set_parameters([Parameter("record", value=str(record))])
        executor = SingleThreadedExecutor()
        said: list[str] = []
        try:
            node.trigger_configure()
            node.trigger_activate()
            # The test hears the bench's topics under the names that the command remaps to.
            node.create_subscription(type(person.arm), "franka/status", node.hear_arm, 10)
            node.create_subscription(
                type(person.command), "commander/status", node.hear_commander, 10
            )
            executor.add_node(node)
            threading.Thread(target=executor.spin, daemon=True).start()
            assert converse(node, said.append, lambda: "y\n") == 0, said
        finally:
            executor.shutdown(timeout_sec=2.0)
            node.destroy_node()
        assert "PASSED" in said[-1] and sum("[y/n]" in text for text in said) == len(STEPS)
        assert json.loads(record.read_text())["passed"] is True
        bench.ready()
        person.think(rows(dy=-0.004), goal="allowed")
        assert person.wait(lambda: person.command.source == 1, 5.0), person.command.reason
