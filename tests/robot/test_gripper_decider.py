"""The fingers follow decisions, not noise."""

from __future__ import annotations

import threading
import time

import pytest

from molmoact_ros.robot.gripper import GripperDecider, GripperThread


def test_openings_near_the_middle_change_nothing() -> None:
    """A policy that wavers about 0.5 must not drop what it holds."""
    decider = GripperDecider()
    decider.put(0.5)
    assert decider.decide(0.0) is None
    decider.put(0.1)
    assert decider.decide(1.0) is True
    for opening in (0.36, 0.5, 0.64):
        decider.put(opening)
        assert decider.decide(10.0) is None


def test_the_dwell_passes_between_two_commands() -> None:
    """Fingers in motion must not be reversed at the policy's rate."""
    decider = GripperDecider()
    decider.put(0.0)
    assert decider.decide(0.0) is True
    decider.put(1.0)
    assert decider.decide(0.3) is None
    assert decider.decide(0.7) is False
    assert decider.decide(2.0) is None


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1, float("inf")])
def test_openings_outside_0_to_1_are_refused(bad: float) -> None:
    """NaN compares false with every threshold and would be taken for no change."""
    with pytest.raises(ValueError, match="send 0"):
        GripperDecider().put(bad)


class SlowHand:
    """A gripper whose commands end when told to, like libfranka's."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.done = threading.Event()
        self.broken = False

    @property
    def state(self) -> SlowHand:
        if self.broken:
            raise OSError("unplugged")
        return self

    width = 0.05

    def grasp_async(self, *args: float) -> SlowHand:
        self.calls.append("close")
        return self

    def move_async(self, *args: float) -> SlowHand:
        self.calls.append("open")
        return self

    def wait(self, seconds: float) -> bool:
        return self.done.is_set()

    def get(self) -> bool:
        return True


def until(condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_callers_never_wait_and_commands_never_overlap() -> None:
    """libfranka blocks a second command until the first has ended; the caller must not feel it."""
    hand = SlowHand()
    thread = GripperThread(lambda: hand, (OSError,))
    thread.start()
    try:
        thread.set_opening(0.0)
        until(lambda: thread.reading.moving)
        thread.set_opening(1.0)
        time.sleep(0.8)
        assert hand.calls == ["close"] and thread.reading.width == 0.05
        hand.done.set()
        until(lambda: hand.calls == ["close", "open"])
    finally:
        thread.close()


def test_a_lost_hand_is_reported_and_the_command_repeated() -> None:
    """After a reconnection the fingers must be where the policy wants them."""
    first, second = SlowHand(), SlowHand()
    hands = iter([first, second])
    thread = GripperThread(lambda: next(hands), (OSError,))
    thread.start()
    try:
        thread.set_opening(0.0)
        until(lambda: first.calls == ["close"])
        first.broken = True
        until(lambda: "unplugged" in thread.reading.detail)
        until(lambda: second.calls == ["close"])
        assert thread.reading.connected and thread.reading.detail == ""
    finally:
        thread.close()
