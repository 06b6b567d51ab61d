"""A scripted gamepad over the ordinary command path: it picks a cube up and puts it elsewhere, and
it takes the arm from a running policy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("franky", reason="needs franky-control, see requirements/sim.txt")
pytest.importorskip("franky_sim", reason="needs franky-sim, see requirements/sim.txt")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from arm_bench import HOLD, TELEOP, ArmBench, arm_bench, rows
from geometry_msgs.msg import PoseStamped
from virtual_pad import CLOSE, OPEN, Pad

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import COMMAND_QOS
from molmoact_ros.sim.shared import SnapshotReader, snapshot_name

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture(scope="module")
def bench() -> Iterator[ArmBench]:
    with arm_bench(extra={"teleop": {"layout": "plain"}}) as found:
        found.start("teleop")
        yield found


def test_a_virtual_joy_picks_a_cube_and_places_it(bench: ArmBench) -> None:
    """Demonstrations are recorded this way: every step goes through commander and franky."""
    bench.ready()
    person, pad = bench.person, Pad(bench)
    reader = SnapshotReader(snapshot_name(bench.host))

    def cube() -> np.ndarray:
        return np.array(reader.read().objects["red_cube"].position)

    start = cube()
    goal = start + np.array([0.0, -0.10 if start[1] > 0.0 else 0.10, 0.0])
    up = np.array([0.0, 0.0, 0.10])
    pad.hold(0.5)
    assert person.wait(lambda: person.command.source in (HOLD, TELEOP), 2.0)
    pad.grip(OPEN, lambda: person.arm.gripper_width > 0.07)
    pad.go(start + up)
    pad.go(start)
    pad.grip(CLOSE, lambda: person.arm.gripper_width < 0.05)
    pad.go(start + up)
    assert cube()[2] > start[2] + 0.05, "the cube was not lifted"
    pad.go(goal + up)
    pad.go(goal + np.array([0.0, 0.0, 0.005]))
    pad.grip(OPEN, lambda: person.arm.gripper_width > 0.07)
    pad.go(goal + up)
    reader_goal = cube()
    assert np.linalg.norm(reader_goal[:2] - goal[:2]) < 0.03, (reader_goal, goal)
    assert abs(reader_goal[2] - start[2]) < 0.01, "the cube does not lie on the table"
    reader.close()


def test_a_take_over_in_the_middle_of_a_thought_keeps_the_arm_where_it_is(
    bench: ArmBench,
) -> None:
    """Whoever presses the switch wants the arm to stop, not to swing."""
    bench.ready()
    person, pad = bench.person, Pad(bench)
    targets: list[np.ndarray] = []
    heard = person.create_subscription(
        PoseStamped,
        "target_pose",
        lambda m: targets.append(convert.pose_from(m.pose).position),
        COMMAND_QOS,
    )
    pad.send(np.zeros(3), dead_man=False)
    person.think(rows(dy=-0.006, count=24), goal="interrupted")
    person.listen(0.8)
    assert person.moved(person.path[-60].time) > 0.01, "the policy did not move the arm"
    switched = None
    for _ in range(60):
        pad.send(np.zeros(3))
        if switched is None and person.command.source == TELEOP:
            switched = targets[-1]
    assert switched is not None, person.command.reason
    person.destroy_subscription(heard)
    assert np.linalg.norm(targets[-1] - switched) < 0.005
    assert np.linalg.norm(person.path[-1].position - switched) < 0.005
    pad.send(np.zeros(3), dead_man=False)
    assert person.wait(lambda: person.command.source == HOLD, 5.0), person.command.reason
