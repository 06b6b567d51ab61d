"""A person on a running goal: a drawn path steers, a plan waits for yes or no."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from molmoact_ros.policy.base import Observation, Segment
from molmoact_ros.policy.goal import GoalLoop, GoalResult, GoalSettings, Outcome
from molmoact_ros.policy.observations import ObservationBuffer
from molmoact_ros.policy.operator_desk import FORGOTTEN_AFTER_S, Decision, OperatorDesk
from molmoact_ros.reasoning.sketch import Sketch
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

IMAGE = np.zeros((6, 8, 3), np.uint8)
POINTS = np.array([[10, 10], [100, 120]], np.float32)


def moving(steered: bool = False, dx: float = 0.01) -> Thought:
    rows = np.zeros((8, 7))
    rows[:, 0], rows[:, 6] = dx, 1.0
    return Thought("text", None, np.zeros((0, 2), np.float32), rows, steered)


class World:
    """A sink, a policy and a clock that moves when the loop looks at it; 50 Hz cameras.

    act: called at every thought with its number, before the policy answers.
    """

    description = "fake"
    needs_geometry = False
    codebook = ""

    def __init__(self, thoughts: int = 8, dx: float = 0.01) -> None:
        self.time = 100.0
        self.buffer = ObservationBuffer(("external", "wrist"))
        self.desk = OperatorDesk(lambda: self.time)
        self.canceled = threading.Event()
        self.left, self.dx = thoughts, dx
        self.act: Callable[[int], None] = lambda number: None
        self.planned: Callable[[int], None] = lambda number: None
        self.seen: list[tuple[int, float, bool]] = []
        self.run: list[tuple[int, bool]] = []
        self.plans: list[int] = []
        self.accepted_at: list[float] = []
        self.calls = 0

    def now(self) -> float:
        self.time += 0.01
        for slot in ("external", "wrist"):
            self.buffer.add_image(slot, self.time - 0.02, IMAGE)
        return self.time

    def reset(self, instruction: str) -> None: ...

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        self.calls += 1
        self.time += 0.1
        self.act(self.calls)
        steered = observation.steering is not None
        self.seen.append((self.calls, observation.stamp, steered))
        if self.calls >= self.left:
            self.canceled.set()
        if canceled():
            raise ThoughtRefused("canceled")
        return moving(steered, self.dx)

    def on_waiting(self, detail: str) -> None: ...
    def on_segment(self, segment: Segment) -> None: ...

    def on_thinking(self, observation: Observation) -> None: ...
    def on_refused(self, chunk_id: int, observation: Observation, refusal: object) -> None:
        raise AssertionError("nothing here is to be refused")

    def on_plan(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        self.plans.append(chunk_id)
        self.planned(chunk_id)

    def on_thought(self, chunk_id: int, observation: Observation, thought: Thought) -> None:
        self.run.append((chunk_id, thought.steered))
        self.accepted_at.append(self.time)

    def go(self, review: bool = False) -> GoalResult:
        loop = GoalLoop(self, self.buffer, self, GoalSettings(), self.now, self.desk)
        return loop.run("put it there", self.canceled, 30.0, review)


def sketch(world: World, until_cleared: bool = False) -> Sketch:
    return Sketch(POINTS, world.time, until_cleared)


def test_a_path_for_the_next_chunk_steers_one_thought_which_runs_to_its_end() -> None:
    """Thought again after four rows, the policy's own mind would undo the stroke."""
    world = World()
    world.desk.steer(sketch(world), preempt=True)
    world.go()
    assert [steered for _, steered in world.run[:3]] == [True, False, False]
    whole = world.accepted_at[1] - world.accepted_at[0]
    part = world.accepted_at[2] - world.accepted_at[1]
    assert whole > 8 / 15 and part < 8 / 15


def test_a_path_until_cleared_steers_until_it_is_cleared() -> None:
    world = World()
    world.desk.steer(sketch(world, until_cleared=True), preempt=True)
    world.act = lambda number: world.desk.clear() and None if number == 3 else None
    world.go()
    # Cleared while the third thought was under way: that one still carries the path.
    assert [steered for _, steered in world.run[:5]] == [True, True, True, False, False]


def test_a_stroke_throws_away_the_thought_under_way_and_older_pictures() -> None:
    """A thought made before the stroke would still move the arm the old way."""
    world = World()
    drawn = []

    def draw(number: int) -> None:
        if number == 2:
            world.desk.steer(sketch(world), preempt=True)
            drawn.append(world.time)

    world.act = draw
    world.go()
    assert world.seen[1][2] is False and world.seen[2][2] is True
    assert world.seen[2][1] > drawn[0], "the steered thought saw a picture from before the stroke"
    assert [number for number, _ in world.run[:2]] == [1, 3], "thought 2 was to be dropped"


def test_a_path_without_preemption_waits_for_its_turn() -> None:
    world = World()
    world.act = lambda n: world.desk.steer(sketch(world), preempt=False) if n == 2 else None
    world.go()
    assert [steered for _, steered in world.run[:3]] == [False, False, True]


def test_the_end_of_a_path_is_not_the_end_of_the_task() -> None:
    """At rest at the end of the path the person may draw on; an unsteered rest finishes."""
    world = World(thoughts=40, dx=0.0)
    world.desk.steer(sketch(world, until_cleared=True), preempt=False)
    assert world.go().outcome is Outcome.CANCELED
    assert len(world.run) > 15

    world = World(thoughts=400, dx=0.0)
    assert world.go().outcome is Outcome.FINISHED


def test_a_path_does_not_outlive_its_goal_nor_wait_for_ever() -> None:
    """An old path on a new task would send the arm where nobody points any more."""
    world = World(thoughts=2)
    world.desk.steer(sketch(world, until_cleared=True), preempt=False)
    world.go()
    assert world.desk.sketch is None

    world.desk.steer(sketch(world), preempt=False)
    world.time += FORGOTTEN_AFTER_S + 1.0
    world.left = world.calls + 2
    world.canceled.clear()
    world.go()
    assert not any(steered for _, steered in world.run[-1:])


@pytest.mark.parametrize("decision", list(Decision))
def test_a_plan_runs_only_when_it_is_approved(decision: Decision) -> None:
    world = World(thoughts=3)
    world.planned = lambda number: answer_later(world, number, decision)
    result = world.go(review=True)
    if decision is Decision.APPROVE:
        assert [number for number, _ in world.run] == world.plans[:2] == [1, 2]
    else:
        assert world.run == []
    if decision is Decision.REJECT:
        assert result.outcome is Outcome.CANCELED and "rejected" in result.message
        assert world.plans == [1]
    if decision is Decision.RETHINK:
        assert world.plans == [1, 2], "rethinking asks again"


def answer_later(world: World, number: int, decision: Decision) -> None:
    threading.Timer(0.02, lambda: world.desk.decide(number, decision)).start()


def test_drawing_on_a_pending_plan_thinks_it_anew_with_the_path() -> None:
    world = World(thoughts=3)

    def draw(number: int) -> None:
        if number == 1:
            threading.Timer(0.02, lambda: world.desk.steer(sketch(world), preempt=True)).start()
        else:
            answer_later(world, number, Decision.APPROVE)

    world.planned = draw
    world.go(review=True)
    assert world.plans[:2] == [1, 2]
    assert world.run == [(2, True)]


def test_an_answer_to_another_plan_is_refused_in_words() -> None:
    """Approved must be what the person looked at."""
    desk = OperatorDesk(lambda: 0.0)
    assert "no plan" in desk.decide(1, Decision.APPROVE)
    asked: list[Decision | None] = []
    thread = threading.Thread(target=lambda: asked.append(desk.ask(7, lambda: False)))
    thread.start()
    while "no plan" in (words := desk.decide(6, Decision.APPROVE)):
        pass
    assert "plan 7 is" in words
    assert desk.decide(7, Decision.APPROVE) == ""
    thread.join(5.0)
    assert asked == [Decision.APPROVE]


def test_a_canceled_goal_leaves_no_plan_behind() -> None:
    desk = OperatorDesk(lambda: 0.0)
    assert desk.ask(1, lambda: True) is None
    assert "no plan" in desk.decide(1, Decision.APPROVE)


def test_nothing_moves_in_review_before_the_first_answer_even_at_rest() -> None:
    """The first chunk may close the gripper without moving: that is a motion, too."""
    world = World(thoughts=5, dx=0.0)
    world.planned = lambda number: answer_later(world, number, Decision.REJECT)
    world.go(review=True)
    assert world.plans == [1] and world.run == []
