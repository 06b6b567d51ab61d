"""A goal's life: thoughts arrive in time, and everything that goes wrong ends in words and HOLD."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from molmoact_ros.geometry import Pose
from molmoact_ros.policy.base import Observation, PolicyError, Segment
from molmoact_ros.policy.goal import GoalLoop, GoalSettings, Outcome
from molmoact_ros.policy.observations import ObservationBuffer
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

IMAGE = np.zeros((6, 8, 3), np.uint8)


def thought(dx: float = 0.01, gripper: float = 1.0) -> Thought:
    rows = np.zeros((8, 7))
    rows[:, 0], rows[:, 6] = dx, gripper
    return Thought("text", None, np.zeros((1, 2), np.float32), rows)


class World:
    """A clock that moves when the loop looks at it, and cameras that deliver at 50 Hz."""

    def __init__(self) -> None:
        self.time = 100.0
        self.alive = True
        self.buffer = ObservationBuffer(("external", "wrist"))
        self.events: list[tuple[str, float]] = []
        self.words: list[str] = []
        self.calls = 0

    def now(self) -> float:
        self.time += 0.01
        if self.alive:
            for slot in ("external", "wrist"):
                self.buffer.add_image(slot, self.time - 0.02, IMAGE)
        return self.time

    # Sink
    def on_waiting(self, detail: str) -> None:
        self.words.append(detail)

    def on_segment(self, segment: Segment) -> None: ...

    def on_thinking(self, observation: Observation) -> None:
        self.events.append(("thinking", observation.stamp))

    def on_thought(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        self.events.append(("thought", observation.stamp))

    def on_refused(self, chunk_id: int, observation: Observation, refusal: ThoughtRefused) -> None:
        self.words.append(refusal.reason)


class Fake:
    """A policy made of a function of the call number."""

    description = "fake"
    needs_geometry = False
    codebook = ""

    def __init__(self, world: World, answer) -> None:  # type: ignore[no-untyped-def]
        self.world, self.answer = world, answer

    def reset(self, instruction: str) -> None:
        if "piano" in instruction:
            raise PolicyError("I cannot play the piano: ask for a cube")

    def think(self, observation: Observation, canceled) -> Thought:  # type: ignore[no-untyped-def]
        self.world.calls += 1
        self.world.time += 0.1
        return self.answer(self.world.calls)


def loop(world: World, answer, **settings: float) -> GoalLoop:  # type: ignore[no-untyped-def]
    return GoalLoop(Fake(world, answer), world.buffer, world, GoalSettings(**settings), world.now)


def test_a_goal_runs_until_its_time_is_over() -> None:
    world = World()
    result = loop(world, lambda n: thought()).run("go", threading.Event(), max_duration=3.0)
    assert result.outcome is Outcome.TIMED_OUT
    assert result.chunks == world.calls > 3


def test_thoughts_come_before_the_running_chunk_ends_but_not_all_the_time() -> None:
    """Too late and the arm stops between chunks; too early and every chunk is thrown away."""
    world = World()
    loop(world, lambda n: thought(), rethink_after_rows=4).run("go", threading.Event(), 5.0)
    stamps = [stamp for kind, stamp in world.events if kind == "thought"]
    gaps = np.diff(stamps)
    assert (gaps >= 4 / 15 - 0.05).all() and (gaps <= 8 / 15).all()


def test_a_slow_policy_looks_when_the_arm_has_come_to_rest() -> None:
    """An image from the middle of a motion would be too old once a slow thought is ready."""
    world = World()

    def answer(number: int) -> Thought:
        world.time += 3.0
        return thought()

    ends = []
    note = world.on_thought

    def on_thought(chunk_id: int, observation: Observation, thought: Thought) -> None:
        note(chunk_id, observation, thought)
        ends.append((observation.stamp, world.time))

    world.on_thought = on_thought  # type: ignore[method-assign]
    loop(world, answer).run("go", threading.Event(), 20.0)
    assert len(ends) >= 4
    for (_, handed_on), (looked, _) in zip(ends, ends[1:], strict=False):
        assert looked > handed_on + 8 / 15 + 0.2


def test_cancel_is_honoured_and_a_late_thought_is_thrown_away() -> None:
    world, canceled = World(), threading.Event()

    def answer(number: int) -> Thought:
        if number == 2:
            canceled.set()
        return thought()

    result = loop(world, answer).run("go", canceled)
    assert result.outcome is Outcome.CANCELED
    assert [kind for kind, _ in world.events].count("thought") == 1


def test_refused_answers_are_reported_and_end_the_goal_when_they_repeat() -> None:
    world = World()

    def answer(number: int) -> Thought:
        raise ThoughtRefused("row 3 has 6 entries, expected 7", "damaged")

    result = loop(world, answer, max_refusals=4).run("go", threading.Event())
    assert result.outcome is Outcome.POLICY_ERROR and "row 3" in result.message
    assert world.words.count("row 3 has 6 entries, expected 7") == 4
    assert result.chunks == 0


def test_one_good_answer_forgives_earlier_refusals() -> None:
    world = World()

    def answer(number: int) -> Thought:
        if number % 3:
            raise ThoughtRefused("cut answer")
        return thought()

    result = loop(world, answer, max_refusals=3).run("go", threading.Event(), 4.0)
    assert result.outcome is Outcome.TIMED_OUT and result.chunks >= 3


@pytest.mark.parametrize("error", [PolicyError("no red cube in view"), ZeroDivisionError("bug")])
def test_an_error_of_the_policy_ends_the_goal_with_its_words(error: Exception) -> None:
    world = World()

    def answer(number: int) -> Thought:
        raise error

    result = loop(world, answer).run("go", threading.Event())
    assert result.outcome is Outcome.POLICY_ERROR and str(error) in result.message


def test_an_instruction_that_cannot_be_served_never_thinks() -> None:
    world = World()
    result = loop(world, lambda n: thought()).run("play the piano", threading.Event())
    assert result.outcome is Outcome.POLICY_ERROR and "ask for a cube" in result.message
    assert world.calls == 0


def test_a_frozen_camera_is_named_and_ends_the_goal_in_the_end() -> None:
    """A camera that repeats its last picture must look like one that is silent."""
    world = World()

    def answer(number: int) -> Thought:
        world.alive = number < 3
        return thought()

    result = loop(world, answer, sensor_timeout=4.0).run("go", threading.Event())
    assert result.outcome is Outcome.SENSOR_LOST
    assert "external camera" in result.message and "check" in result.message
    assert world.words and world.calls == 3


def test_rest_for_long_enough_means_finished() -> None:
    world = World()
    answer = lambda n: thought(0.01 if n < 4 else 0.0)  # noqa: E731
    result = loop(world, answer, finish_after_rest=1.0).run("go", threading.Event(), 60.0)
    assert result.outcome is Outcome.FINISHED and world.calls > 4


def test_a_moving_gripper_is_no_rest() -> None:
    world = World()
    answer = lambda n: thought(0.0, gripper=float(n % 2))  # noqa: E731
    result = loop(world, answer, finish_after_rest=0.5).run("go", threading.Event(), 5.0)
    assert result.outcome is Outcome.TIMED_OUT


def test_poses_are_interpolated_at_the_stamp_of_the_image() -> None:
    """The trace starts at the tool; a pose 50 ms off would start it a centimetre away."""
    world = World()
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    for k in range(20):
        stamp = 100.0 + 0.1 * k
        world.buffer.add_pose(stamp, Pose(np.array([k * 0.1, 0.0, 0.3]), identity))
    for slot in ("external", "wrist"):
        world.buffer.add_image(slot, 101.05, IMAGE)
    seen = world.buffer.build(101.2, "go")
    assert seen.ee_pose is not None
    assert seen.ee_pose.position == pytest.approx([1.05, 0.0, 0.3])
    assert seen.target_pose is None
