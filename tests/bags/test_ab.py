"""Offline A/B: a policy that repeats what was done is error-free, another one is not."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_bag_check import Faults, episode

from molmoact_ros import ab_command
from molmoact_ros.bags.ab import (
    Opinion,
    action_error,
    compare,
    depth_agreement,
    summarise,
    trace_error,
)
from molmoact_ros.bags.executed import Executed
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.policy.base import Observation
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused


class Echo:
    """Thinks exactly what was executed, plus an error in x; refuses every third time."""

    description = "echo"
    needs_geometry = False
    codebook = ""

    def __init__(self, bag: Path, error: float, refuse: bool = False) -> None:
        self._executed = Executed(BagReader(bag))
        self._error, self._refuse, self._count = error, refuse, 0

    def reset(self, instruction: str) -> None:
        assert instruction == "pick up the cube"

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        self._count += 1
        if self._refuse and self._count % 3 == 0:
            raise ThoughtRefused("no depth map in the answer")
        rows = self._executed.rows(observation.stamp, 8, 1 / 15)
        actions = np.zeros((8, 7)) if rows is None else rows.copy()
        actions[:, 0] += self._error
        depth = np.full((10, 10), 3 if self._error else 4, np.uint8)
        depth[:5] = 7
        return Thought("", depth, np.array([[10.0, 10.0]], np.float32), actions)


def test_errors_are_those_that_were_made(tmp_path: Path) -> None:
    bag = episode(tmp_path / "e", Faults(), seconds=6.0)
    policies = Echo(bag, 0.0), Echo(bag, 0.01, refuse=True)
    found = list(compare([bag], policies, every=0.5))
    assert len(found) >= 10
    right = summarise("a", [c.opinions[0] for c in found])
    wrong = summarise("b", [c.opinions[1] for c in found])
    assert right["position_error_m_per_row"] == pytest.approx(0.0, abs=1e-9)
    assert wrong["position_error_m_per_row"] == pytest.approx(0.01, abs=1e-9)
    assert right["gripper_agreement"] == 1.0
    assert wrong["refused"] == len(found) // 3
    assert wrong["first_refusal"] == "no depth map in the answer"
    agreements = {c.depth for c in found if c.opinions[1].thought is not None}
    assert agreements == {0.5}


def test_measures_by_hand() -> None:
    path = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]])
    assert trace_error(np.array([[0.0, 3.0], [20.0, 4.0]]), path) == pytest.approx(3.5)
    assert np.isnan(trace_error(np.zeros((0, 2)), path)) and np.isnan(trace_error(path, None))
    rows = np.zeros((2, 7))
    rows[:, 6] = [1.0, np.nan]
    actions = np.zeros((2, 7))
    actions[:, 4], actions[:, 6] = 0.2, 1.0
    assert action_error(actions, rows) == pytest.approx((0.0, 0.2, 1.0))
    assert np.isnan(depth_agreement(Opinion(None, "refused"), Opinion(None, "refused")))


def test_a_recording_that_ends_is_not_extrapolated(tmp_path: Path) -> None:
    bag = episode(tmp_path / "e", Faults(), seconds=2.0)
    executed = Executed(BagReader(bag))
    end = executed.poses.times[-1]
    assert executed.rows(end - 0.2, 8, 1 / 15) is None
    assert executed.rows(end - 1.0, 8, 1 / 15) is not None


def test_a_bag_without_thoughts_says_what_to_do(tmp_path: Path) -> None:
    bag = episode(tmp_path / "e", Faults(), seconds=1.0)
    with pytest.raises(BadBag, match="--every"):
        list(compare([bag], (Echo(bag, 0.0), Echo(bag, 0.0))))


@pytest.mark.slow
def test_the_command_compares_two_random_models(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    """Whole path: checkpoints, thoughts or refusals, a table, JSON and a film."""
    bag = episode(tmp_path / "e", Faults(), seconds=2.0)
    parser = argparse.ArgumentParser()
    ab_command.add_arguments(parser)
    words = ["--bag", str(bag), "--model", "random:1", "--model", "random:2", "--every", "0.5"]
    values = parser.parse_args([*words, "--limit", "2", "--out", str(tmp_path / "out")])
    assert ab_command.run(values) == 0
    result = json.loads((tmp_path / "out" / "ab.json").read_text())
    assert [m["model"] for m in result["models"]] == ["random:1", "random:2"]
    assert [m["thoughts"] for m in result["models"]] == [2, 2]
    with av.open(str(tmp_path / "out" / "ab.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2
    assert "trace error grid" in capsys.readouterr().out
    assert ab_command.run(parser.parse_args(words[:4])) == 2
