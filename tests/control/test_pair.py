"""Two arms, one thought: both move or none does."""

from __future__ import annotations

import numpy as np
import pytest

from molmoact_ros.control.command import Command, Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.pair import Arms, together
from molmoact_ros.geometry import Pose

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
DT = 0.02


class Bench:
    """Two commanders whose arms follow perfectly unless they are dead."""

    def __init__(self) -> None:
        self.arms = Arms({"left": Commander(), "right": Commander()})
        self.poses = {name: Pose(np.array([0.45, 0.0, 0.3]), DOWN) for name in ("left", "right")}
        self.dead: set[str] = set()
        self.now = 100.0
        self.run(0.1)
        self.arms.select_source(Source.POLICY, self.now)
        self.run(0.1)

    def run(self, seconds: float) -> dict[str, Command]:
        commands: dict[str, Command] = {}
        for _ in range(round(seconds / DT)):
            self.now += DT
            for name, commander in self.arms.commanders.items():
                if name not in self.dead:
                    pose = self.poses[name]
                    commander.feed_measured(pose.position, pose.quaternion, self.now)
            commands = self.arms.step(self.now)
            for name, command in commands.items():
                if command.pose is not None and name not in self.dead:
                    self.poses[name] = command.pose
        return commands

    def think(self, left: float = 0.01, right: float = -0.01) -> str:
        rows = np.zeros((8, 14))
        rows[:, 1], rows[:, 8], rows[:, [6, 13]] = left, right, 1.0
        return self.arms.feed_chunk(rows, self.now, self.now, "goal")


def test_a_chunk_of_fourteen_columns_moves_each_arm_its_way() -> None:
    bench = Bench()
    assert bench.think() == ""
    bench.run(1.5)
    assert bench.poses["left"].position[1] == pytest.approx(0.08, abs=2e-3)
    assert bench.poses["right"].position[1] == pytest.approx(-0.08, abs=2e-3)


def test_a_chunk_damaged_for_one_arm_moves_neither() -> None:
    """Half a two-handed motion drops the tray."""
    bench = Bench()
    assert bench.think(right=float("nan")).startswith("right:")
    commands = bench.run(0.5)
    assert all(c.source is Source.HOLD for c in commands.values())
    assert abs(bench.poses["left"].position[1]) < 1e-9
    assert "right: " in together(commands).reason and "not finite" in together(commands).reason


def test_a_chunk_for_one_arm_is_refused_by_two() -> None:
    bench = Bench()
    seven = np.zeros((8, 7))
    assert bench.arms.feed_chunk(np.zeros((8, 10)), bench.now, bench.now) != ""
    assert bench.arms.feed_chunk(np.hstack([seven, seven])[:, :13], bench.now, bench.now) != ""


def test_a_dead_arm_holds_the_other() -> None:
    bench = Bench()
    bench.think()
    bench.run(0.1)
    bench.dead.add("right")
    commands = bench.run(0.6)
    assert commands["left"].source is Source.HOLD and "the right arm" in commands["left"].reason
    before = bench.poses["left"].position.copy()
    bench.run(0.5)
    assert np.linalg.norm(bench.poses["left"].position - before) < 1e-6
    bench.dead.clear()
    bench.run(0.2)
    assert bench.think() == "" and bench.run(0.2)["left"].source is Source.POLICY


def test_stop_and_emergency_stop_are_for_both() -> None:
    bench = Bench()
    bench.think()
    bench.arms.emergency_stop(True, bench.now)
    assert all(not c.enabled for c in bench.run(0.5).values())
    assert "pressed" in bench.arms.reset(bench.now)
    bench.arms.emergency_stop(False, bench.now)
    assert bench.arms.reset(bench.now) == "" and bench.arms.selected is Source.HOLD


def test_one_arm_keeps_its_own_status() -> None:
    """A single arm must not be reported under a name it does not have."""
    arms = Arms({"": Commander()})
    command = arms.step(1.0)[""]
    assert together({"": command}) is command
    with pytest.raises(ValueError, match="name at least one"):
        Arms({})
