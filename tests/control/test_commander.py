"""The commander: who moves the arm, and how it stops."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molmoact_ros.control.command import Command, Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.guards import Limits, Refused, tilt
from molmoact_ros.geometry import Pose

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
START = Pose(np.array([0.45, 0.0, 0.3]), DOWN)
LIMITS = Limits()
DT = 0.01


def chunk(step: tuple[float, float, float], rows: int = 8, gripper: float = 1.0) -> np.ndarray:
    out = np.zeros((rows, 7))
    out[:, :3], out[:, 6] = step, gripper
    return out


@dataclass
class World:
    """A commander and an arm that follows it perfectly unless told otherwise."""

    commander: Commander = field(default_factory=Commander)
    now: float = 100.0
    arm: Pose = START
    follows: bool = True
    alive: bool = True
    log: list[Command] = field(default_factory=list)

    def run(self, seconds: float) -> Command:
        for _ in range(round(seconds / DT)):
            self.now += DT
            if self.alive:
                self.commander.feed_measured(self.arm.position, self.arm.quaternion, self.now)
            self.log.append(self.commander.step(self.now))
            if self.follows and self.log[-1].pose is not None:
                self.arm = self.log[-1].pose
        return self.log[-1]

    def think(self, rows: np.ndarray, age: float = 0.0, goal: str = "g") -> str:
        return self.commander.feed_chunk(rows, self.now - age, self.now, goal)

    @staticmethod
    def driving(source: Source = Source.POLICY) -> World:
        world = World()
        world.run(0.05)
        assert world.commander.select_source(source, world.now) == ""
        world.run(0.05)
        return world


def assert_smooth(log: list[Command]) -> None:
    """Speed, acceleration and the pose/twist relation hold between all ticks of ``log``."""
    for a, b in zip(log, log[1:], strict=False):
        assert a.pose is not None and b.pose is not None
        assert np.linalg.norm(b.twist[:3]) <= LIMITS.speed_m_s + 1e-6
        assert np.linalg.norm(b.twist[3:]) <= LIMITS.speed_rad_s + 1e-6
        change = np.linalg.norm(b.twist[:3] - a.twist[:3])
        assert change <= LIMITS.acceleration_m_s2 * DT + 1e-6
        np.testing.assert_allclose(b.pose.position, a.pose.position + b.twist[:3] * DT, atol=1e-9)


def test_nothing_is_commanded_before_the_arm_was_measured() -> None:
    """A made-up first pose would throw the arm across the table."""
    command = Commander().step(1.0)
    assert command.pose is None and command.source is Source.HOLD
    assert "arm node" in command.reason


def test_a_chunk_moves_by_the_sum_of_its_rows_and_then_waits() -> None:
    """Lost or repeated rows would make every thought miss its goal."""
    world = World.driving()
    assert world.think(chunk((0.01, 0.005, -0.005), gripper=0.0)) == ""
    moving = world.run(0.3)
    assert moving.source is Source.POLICY and moving.gripper == 0.0 and moving.chunk_row == 4
    end = world.run(1.0)
    assert end.pose is not None
    np.testing.assert_allclose(end.pose.position, [0.53, 0.04, 0.26], atol=1e-4)
    assert end.source is Source.HOLD and "waiting for the next thought" in end.reason
    assert np.abs(end.twist).max() < 1e-4 and end.gripper == 0.0
    assert_smooth(world.log)


def test_thoughts_in_motion_continue_without_a_stop() -> None:
    """The arm must not stand still between two chunks of a policy that thinks in time."""
    world = World.driving()
    world.think(chunk((0.012, 0, 0)))
    world.run(0.25)
    start = world.arm.position[0]
    for _ in range(4):
        assert world.think(chunk((0.012, 0, 0)), age=0.2) == ""
        world.run(4 / 15)
    speeds = [c.twist[0] for c in world.log[-100:]]
    assert min(speeds) > 0.15 and max(speeds) < 0.2
    ticks = 4 * round(4 / 15 / DT)
    assert world.arm.position[0] - start == pytest.approx(ticks * DT * 15 * 0.012, abs=0.003)
    assert_smooth(world.log)


def test_deltas_accumulate_on_the_command_not_on_a_lagging_arm() -> None:
    """Accumulating on the measured pose turns lag into shorter motions."""
    world = World.driving()
    world.follows = False
    world.think(chunk((0.004, 0, 0)))
    end = world.run(0.8)
    assert end.pose is not None and end.pose.position[0] == pytest.approx(0.482, abs=1e-3)
    assert end.tracking_error == pytest.approx(0.032, abs=1e-3)


@pytest.mark.parametrize("rows", [chunk((np.nan, 0, 0)), np.zeros((8, 6)), chunk((0.3, 0, 0))])
def test_a_damaged_chunk_holds_with_a_message(rows: np.ndarray) -> None:
    """A damaged answer must end in HOLD, and the operator must read why."""
    world = World.driving()
    assert "refused" in world.think(rows)
    end = world.run(0.2)
    assert end.source is Source.HOLD and "thought refused" in end.reason
    assert end.pose is not None and np.allclose(end.pose.position, START.position)


def test_a_thought_about_an_old_image_is_refused() -> None:
    """A frozen camera must not steer an arm that has moved on."""
    world = World.driving()
    world.run(2.0)
    assert world.think(chunk((0.01, 0, 0))) == ""
    world.run(0.6)
    assert "1.20 s old" in world.think(chunk((0.01, 0, 0)), age=1.2)


def test_a_slow_policy_drives_an_arm_that_waited_for_it() -> None:
    """Three seconds of thinking are normal for 7B weights; fifteen are a fault."""
    world = World.driving()
    world.run(30.0)
    assert "old" in world.think(chunk((0.01, 0, 0)), age=16.0)
    assert world.think(chunk((0.01, 0, 0)), age=3.0) == ""
    assert world.run(0.2).source is Source.POLICY


def test_a_dead_policy_ends_in_a_hold() -> None:
    """No process may keep the arm moving by dying."""
    world = World.driving()
    world.think(chunk((0.01, 0, 0)))
    world.run(8 / 15 + 0.3)
    end = world.run(0.5)
    assert end.source is Source.HOLD and end.reason and np.abs(end.twist).max() < 1e-4


def test_a_silent_arm_holds_smoothly_and_comes_back_where_it_is() -> None:
    """A dead arm driver: hold within 0.25 s, and no jump when it returns elsewhere."""
    world = World.driving()
    world.think(chunk((0.015, 0, 0)))
    world.run(0.2)
    world.alive = False
    held = world.run(0.5)
    assert held.source is Source.HOLD and "measured pose" in held.reason
    assert np.abs(held.twist).max() < 1e-6
    assert_smooth(world.log)
    world.alive, world.arm = True, START
    back = world.run(0.2)
    assert back.pose is not None
    np.testing.assert_allclose(back.pose.position, START.position, atol=1e-9)
    assert "refused" in world.think(chunk((0.01, 0, 0)), age=0.9), "its image is from before"
    assert world.think(chunk((0.01, 0, 0))) == ""


def test_an_arm_that_cannot_follow_is_not_pushed_further() -> None:
    """A blocked arm: let go at the tracking limit, say why, wait for a new thought."""
    world = World.driving()
    world.follows = False
    world.think(chunk((0.0, 0.0, -0.015)))
    end = world.run(1.0)
    assert end.source is Source.HOLD and "away from its command" in end.reason
    assert end.pose is not None and np.allclose(end.pose.position, START.position)
    assert max(c.tracking_error for c in world.log) < LIMITS.tracking_error_m + 0.005


def test_an_arm_that_is_not_ready_is_followed_not_led() -> None:
    """While the arm recovers or goes home the reference goes along with it."""
    world = World.driving()
    world.commander.feed_arm_ready(False, "reflex: recovering")
    world.think(chunk((0.01, 0, 0)))
    world.arm = Pose(START.position + 0.02, DOWN)
    end = world.run(0.2)
    assert end.source is Source.HOLD and "reflex: recovering" in end.reason
    assert end.pose is not None and np.allclose(end.pose.position, world.arm.position)
    world.commander.feed_arm_ready(True)
    assert world.think(chunk((0.01, 0, 0))) == ""
    assert world.run(0.1).source is Source.POLICY


def test_stop_is_smooth_latched_and_left_only_by_reset() -> None:
    """The stop button must win against every later chunk and twist."""
    world = World.driving()
    world.think(chunk((0.016, 0, 0)))
    world.run(0.3)
    world.commander.stop(world.now, "button on the page")
    world.think(chunk((0.016, 0, 0)))
    world.commander.feed_teleop([0.1, 0, 0, 0, 0, 0], None, world.now)
    end = world.run(0.5)
    assert not end.enabled and end.source is Source.HOLD and "button on the page" in end.reason
    assert np.abs(end.twist).max() < 1e-6
    assert_smooth(world.log)
    assert "reset" in world.commander.select_source(Source.POLICY, world.now)
    world.commander.reset(world.now)
    end = world.run(0.1)
    assert end.enabled and world.commander.selected is Source.HOLD
    assert world.commander.select_source(Source.POLICY, world.now) == ""
    world.run(0.05)
    assert world.think(chunk((0.01, 0, 0))) == ""


def test_a_person_takes_over_and_hands_back() -> None:
    """The hand wins at once; afterwards only a new thought may move the arm."""
    world = World.driving()
    world.think(chunk((0.015, 0, 0)))
    world.run(0.1)
    for _ in range(30):
        world.commander.feed_teleop([0.0, 0.1, 0, 0, 0, 0], 0.0, world.now)
        world.run(DT)
    assert world.log[-1].source is Source.TELEOP and world.log[-1].gripper == 0.0
    assert world.log[-1].twist[1] == pytest.approx(0.1, abs=1e-3)
    assert "refused" in world.think(chunk((0.01, 0, 0)), age=0.3)
    end = world.run(0.6)
    assert end.source is Source.HOLD and np.abs(end.twist).max() < 1e-6
    assert world.think(chunk((0.01, 0, 0))) == ""
    assert world.run(0.1).source is Source.POLICY
    assert_smooth(world.log)


def test_hold_ignores_policy_and_teleop() -> None:
    """HOLD selected means that nobody moves the arm."""
    world = World.driving(Source.HOLD)
    assert "select POLICY" in world.think(chunk((0.01, 0, 0)))
    world.commander.feed_teleop([0.1, 0, 0, 0, 0, 0], 0.0, world.now)
    end = world.run(0.2)
    assert end.source is Source.HOLD and end.gripper is None and np.abs(end.twist).max() == 0.0


def test_the_end_of_a_goal_drops_its_rows() -> None:
    """Cancelling a task stops it, and its late thoughts are refused."""
    world = World.driving()
    world.think(chunk((0.015, 0, 0)), goal="a")
    world.run(0.1)
    world.commander.end_goal("a", world.now)
    end = world.run(0.5)
    assert end.source is Source.HOLD and np.abs(end.twist).max() < 1e-4
    assert "ended" in world.think(chunk((0.01, 0, 0)), goal="a")
    assert "next thought" in world.run(5.0).reason


def test_a_refused_thought_drops_the_rows_but_not_the_goal() -> None:
    """A damaged answer holds the arm; the next good one of the same goal moves it again."""
    world = World.driving()
    world.think(chunk((0.015, 0, 0)), goal="a")
    world.run(0.1)
    world.think(np.zeros((0, 7)), goal="a")
    end = world.run(0.5)
    assert end.source is Source.HOLD and np.abs(end.twist).max() < 1e-4
    assert world.think(chunk((0.01, 0, 0)), goal="a") == ""
    assert world.run(0.2).source is Source.POLICY


def test_a_silent_policy_is_named_while_its_goal_runs() -> None:
    """A killed policy node cannot say so itself: the one who waits for it must."""
    world = World.driving()
    world.think(chunk((0.01, 0, 0)), goal="a")
    assert "policy node" not in world.run(1.5).reason
    assert "check that the policy node runs" in world.run(1.5).reason


def test_a_paused_commander_does_not_catch_up() -> None:
    """After a stall of its own process the arm must not rush through the missed rows."""
    world = World.driving()
    world.think(chunk((0.015, 0, 0)))
    world.run(0.1)
    world.now += 0.4
    before = world.arm.position.copy()
    end = world.run(0.3)
    assert end.source is Source.HOLD and "did not run" in end.reason
    assert np.linalg.norm(world.arm.position - before) < 0.03


def test_an_arm_outside_the_box_may_only_come_back() -> None:
    """Starting outside must neither throw the arm inside nor let it go further out."""
    world = World(arm=Pose(np.array([0.2, 0.0, 0.3]), DOWN))
    world.run(0.05)
    world.commander.select_source(Source.POLICY, world.now)
    world.run(0.05)
    world.think(chunk((-0.015, 0, 0)))
    assert world.run(0.7).pose.position[0] == pytest.approx(0.2, abs=1e-9)  # type: ignore[union-attr]
    world.think(chunk((0.015, 0, 0)))
    assert world.run(0.7).pose.position[0] == pytest.approx(0.32, abs=1e-3)  # type: ignore[union-attr]
    assert_smooth(world.log)


def test_damaged_inputs_raise_and_change_nothing() -> None:
    """A NaN pose or twist is refused at the door."""
    world = World.driving(Source.TELEOP)
    with pytest.raises(Refused):
        world.commander.feed_measured([0.4, 0, np.nan], DOWN, world.now)
    with pytest.raises(Refused):
        world.commander.feed_teleop([np.nan] * 6, None, world.now)
    with pytest.raises(Refused):
        world.commander.feed_teleop([0.0] * 6, 7.0, world.now)
    assert world.run(0.1).pose is not None


rows = arrays(np.float64, (8, 7), elements=st.floats(-0.05, 0.05))
twists = arrays(np.float64, 6, elements=st.floats(-5.0, 5.0))


@given(st.lists(st.one_of(rows, twists), min_size=1, max_size=6), st.data())
@settings(deadline=None, max_examples=30)
def test_whatever_is_fed_the_commands_keep_the_limits(
    inputs: list[np.ndarray], data: st.DataObject
) -> None:
    """Any mix of policy and person: in the box, below the speeds, unit quaternions."""
    world = World.driving()
    for item in inputs:
        if item.ndim == 2:
            world.think(item, age=data.draw(st.floats(0.0, 0.5)), goal="")
        else:
            world.commander.feed_teleop(item, None, world.now)
        world.run(data.draw(st.sampled_from([0.05, 0.3, 0.7])))
    for command in world.log:
        assert command.pose is not None
        assert (command.pose.position >= np.array(LIMITS.box_min_m) - 1e-9).all()
        assert (command.pose.position <= np.array(LIMITS.box_max_m) + 1e-9).all()
        assert tilt(command.pose) <= LIMITS.tilt_rad + 1e-6
        assert np.linalg.norm(command.pose.quaternion) == pytest.approx(1.0, abs=1e-9)
        assert np.linalg.norm(command.twist[:3]) <= LIMITS.speed_m_s + 1e-6
        assert np.linalg.norm(command.twist[3:]) <= LIMITS.speed_rad_s + 1e-6
