"""The person's switches: stop, emergency stop, hold-to-run, take-over and hand-back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmoact_ros.control.command import NOT_FOLLOWED, Command, Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.control.operator import HandBack
from molmoact_ros.control.servo import servo_twist
from molmoact_ros.geometry import Pose

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
START = Pose(np.array([0.45, 0.0, 0.3]), DOWN)
LIMITS = Limits()
DT = 0.02


def forward(rows: int = 8) -> np.ndarray:
    out = np.zeros((rows, 7))
    out[:, 0], out[:, 6] = 0.01, 1.0
    return out


class Bench:
    """A commander whose arm follows perfectly."""

    def __init__(self, commander: Commander | None = None) -> None:
        self.commander = commander or Commander()
        self.now, self.arm = 100.0, START
        self.log: list[Command] = []
        self.run(0.1)
        assert self.commander.select_source(Source.POLICY, self.now) == ""
        self.run(0.1)

    def run(self, seconds: float, stamp_ago: float = 0.0) -> Command:
        for _ in range(round(seconds / DT)):
            self.now += DT
            self.commander.feed_measured(
                self.arm.position, self.arm.quaternion, self.now - stamp_ago, self.now
            )
            self.log.append(self.commander.step(self.now))
            if self.log[-1].pose is not None:
                self.arm = self.log[-1].pose
        return self.log[-1]

    def think(self) -> str:
        return self.commander.feed_chunk(forward(), self.now, self.now, "goal")

    def push(self, seconds: float, twist: tuple[float, ...] = (0.0, 0.1, 0, 0, 0, 0)) -> Command:
        for _ in range(round(seconds / DT)):
            self.commander.feed_teleop(twist, None, self.now)
            self.run(DT)
        return self.log[-1]


def test_the_emergency_stop_is_latched_and_no_reset_helps_while_it_is_pressed() -> None:
    """A person who pressed it must find the arm still when they come back."""
    bench = Bench()
    bench.think()
    bench.run(0.1)
    bench.commander.emergency_stop(True, bench.now)
    end = bench.run(0.5)
    assert not end.enabled and "emergency stop" in end.reason and np.abs(end.twist).max() < 1e-6
    assert "still pressed" in bench.commander.reset(bench.now)
    bench.commander.emergency_stop(False, bench.now)
    assert not bench.run(0.1).enabled, "releasing the button alone moves nothing"
    assert bench.commander.reset(bench.now) == ""
    assert bench.run(0.1).enabled and bench.commander.selected is Source.HOLD


def test_the_policy_moves_only_while_the_button_is_reported_pressed() -> None:
    """A silent button is a released one: its cable may be cut."""
    bench = Bench(Commander(hold_to_run=True))
    bench.think()
    waiting = bench.run(0.2)
    assert waiting.source is Source.HOLD and "hold-to-run" in waiting.reason
    bench.commander.operator.hold_to_run(True, bench.now)
    bench.think()
    assert bench.run(0.1).source is Source.POLICY
    silent = bench.run(0.5)
    assert silent.source is Source.HOLD and "hold-to-run" in silent.reason
    assert np.abs(silent.twist).max() < 1e-6
    bench.commander.operator.hold_to_run(True, bench.now)
    assert bench.run(0.1).source is Source.HOLD, "the rest of an interrupted chunk is dropped"
    bench.commander.operator.hold_to_run(True, bench.now)
    bench.think()
    assert bench.run(0.1).source is Source.POLICY
    bench.commander.operator.hold_to_run(False, bench.now)
    assert bench.run(0.04).source is Source.HOLD


def test_teleop_needs_no_hold_to_run() -> None:
    """The hand has a dead-man switch of its own."""
    bench = Bench(Commander(hold_to_run=True))
    assert bench.push(0.2).source is Source.TELEOP


def test_a_touch_takes_over_and_the_policy_waits_to_be_asked() -> None:
    bench = Bench(Commander(hand_back=HandBack.ASK))
    bench.think()
    bench.run(0.1)
    bench.push(0.3)
    end = bench.run(0.6)
    assert end.source is Source.HOLD and bench.commander.selected is Source.TELEOP
    assert "select POLICY" in bench.think()
    assert bench.commander.select_source(Source.POLICY, bench.now) == ""
    bench.run(0.1)
    assert bench.think() == "" and bench.run(0.1).source is Source.POLICY


def test_taking_over_with_a_still_hand_stops_within_five_millimetres() -> None:
    """Whoever grabs the device wants the arm to stop where it is."""
    bench = Bench()
    bench.think()
    at_switch = bench.run(0.3).pose
    assert at_switch is not None
    end = bench.push(0.5, (0.0,) * 6).pose
    assert end is not None
    assert np.linalg.norm(end.position - at_switch.position) < 0.005


def test_the_gripper_of_an_earlier_take_over_is_forgotten() -> None:
    """A hand that left the gripper closed must not close it again at the next touch."""
    bench = Bench()
    bench.push(0.1)
    bench.commander.feed_teleop_gripper(0.0, bench.now)
    assert bench.push(0.1).gripper == 0.0
    bench.run(0.5)
    bench.think()
    assert bench.run(0.2).gripper == 1.0
    assert bench.push(0.2).gripper == 1.0
    bench.run(0.5)
    bench.commander.feed_teleop_gripper(0.0, bench.now)
    assert bench.run(0.1).gripper == 1.0, "without a hand on the device its buttons are dead"


def test_a_twist_that_lay_in_a_queue_is_refused() -> None:
    """A radio link that stutters delivers old motions in a burst."""
    bench = Bench()
    with pytest.raises(Refused, match="old"):
        bench.commander.feed_teleop([0.1, 0, 0, 0, 0, 0], None, bench.now, bench.now - 1.0)
    with pytest.raises(Refused, match="clocks"):
        bench.commander.feed_teleop([0.1, 0, 0, 0, 0, 0], None, bench.now, bench.now + 5.0)
    assert bench.run(0.1).source is Source.HOLD


def test_a_state_that_arrives_late_is_old_however_fresh_it_looks() -> None:
    """By stamp or by arrival, whichever is longer: both a slow network and a dead node count."""
    bench = Bench()
    assert "old" in bench.run(0.2, stamp_ago=0.5).reason
    bench.run(0.2)
    bench.commander.feed_measured(START.position, DOWN, bench.now + 0.05, bench.now - 1.0)
    bench.now += DT
    commander = bench.commander
    assert "holding" in commander.step(bench.now).reason


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -0.5, 2.0])
def test_a_clock_that_jumps_holds_and_recovers(jump: float) -> None:
    """NTP sets a wrong clock right in one step, in the middle of a motion."""
    bench = Bench()
    bench.think()
    bench.run(0.2)
    bench.push(0.06)
    bench.commander.operator.hold_to_run(True, bench.now)
    before = bench.arm.position.copy()
    bench.now += jump
    held = bench.run(0.3)
    assert held.source is Source.HOLD and "clock" in " ".join(c.reason for c in bench.log[-15:])
    assert np.linalg.norm(bench.arm.position - before) < 0.01
    assert bench.think() == "" and bench.run(0.2).source is Source.POLICY


def test_an_arm_that_refuses_is_not_asked_again_and_again() -> None:
    """Near a joint's end the arm turns targets back; insisting would end in its watchdog."""
    bench = Bench()
    bench.think()
    bench.run(0.2)
    bench.commander.feed_arm_ready(True, NOT_FOLLOWED + "joint 7 is near its limit")
    held = bench.run(0.1)
    assert held.source is Source.HOLD and "joint 7" in held.reason and held.blocked
    bench.commander.feed_arm_ready(True, "gripper: the fingers did not close")
    bench.run(0.1)
    assert bench.think() == "" and bench.run(0.1).source is Source.POLICY


def test_a_state_from_the_future_is_named_as_a_clock_problem() -> None:
    bench = Bench()
    held = bench.run(0.1, stamp_ago=-2.0)
    assert held.source is Source.HOLD and "synchronise" in held.reason and held.blocked


def test_servo_gets_a_velocity_that_works_off_the_error_and_stays_slow() -> None:
    bench = Bench()
    bench.think()
    command = bench.run(0.2)
    assert command.pose is not None
    behind = Pose(command.pose.position - [0.01, 0, 0], DOWN)
    assert servo_twist(command, behind, LIMITS)[0] > command.twist[0]
    far = Pose(command.pose.position - [0.4, 0, 0], DOWN)
    assert np.linalg.norm(servo_twist(command, far, LIMITS)[:3]) <= LIMITS.speed_m_s + 1e-9
    assert not servo_twist(command, None, LIMITS).any()


actions = st.lists(
    st.sampled_from(
        ["think", "push", "run", "stop", "reset", "estop", "release", "hold", "policy"]
    ),
    max_size=12,
)


@given(actions, st.booleans(), st.sampled_from(list(HandBack)))
@settings(deadline=None, max_examples=40)
def test_stopped_is_still_whatever_people_press(
    steps: list[str], hold_to_run: bool, hand_back: HandBack
) -> None:
    """In any order of switches: after a stop nothing moves until a reset was accepted."""
    bench = Bench(Commander(hold_to_run=hold_to_run, hand_back=hand_back))
    stopped = pressed = False
    for step in steps:
        if step == "think":
            bench.think()
        elif step == "push":
            bench.push(0.1)
        elif step == "stop":
            bench.commander.stop(bench.now)
            stopped = True
        elif step == "estop":
            bench.commander.emergency_stop(True, bench.now)
            stopped = pressed = True
        elif step == "release":
            bench.commander.emergency_stop(False, bench.now)
            pressed = False
        elif step == "reset":
            accepted = bench.commander.reset(bench.now) == ""
            assert accepted == (not pressed)
            stopped = stopped and not accepted
        elif step in ("hold", "policy"):
            bench.commander.select_source(Source[step.upper()], bench.now)
        end = bench.run(0.4)
        assert end.enabled == (not stopped)
        if stopped:
            assert end.source is Source.HOLD and np.abs(end.twist).max() < 1e-6
