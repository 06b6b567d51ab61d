"""Fine-tuning as an action: progress while it runs, cancel saves, a wrong goal is refused."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from molmoact_msgs.action import FineTune
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from molmoact_ros.nodes import trainer_node
from molmoact_ros.nodes.page_training import PageTraining
from molmoact_ros.train.launch import Launch
from molmoact_ros.web.page import PageError, PageState

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from train_helpers import small_recipe, source_of

pytestmark = pytest.mark.timeout(120)

TRAINS = """
import json, pathlib, signal, sys, time
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
steps = int(sys.argv[sys.argv.index("--set") + 1].split("=")[1]) if "--set" in sys.argv else 500
for step in range(1, steps + 1):
    line = {"kind": "train", "step": step, "loss": 9.0 - step, "samples_s": 8.0}
    with (out / "metrics.jsonl").open("a") as f:
        f.write(json.dumps(line) + "\\n")
    time.sleep(0.2)
"""


LOADS = """
import time
print("importing torch", flush=True)
time.sleep(60)
"""


class Person:
    """A node under test and an action client, spun together."""

    def __init__(self) -> None:
        self.trainer = trainer_node.TrainerNode()
        self.set(report_period=0.1)
        self.trainer.trigger_configure()
        self.trainer.trigger_activate()
        self.node = Node("person")
        self.client = ActionClient(self.node, FineTune, "trainer/fine_tune")
        self.executor = SingleThreadedExecutor()
        for node in (self.trainer, self.node):
            self.executor.add_node(node)
        self.seen: list[FineTune.Feedback] = []

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + 180.0
        while not done():
            assert time.monotonic() < end, "nothing happened for three minutes"
            self.executor.spin_once(timeout_sec=0.1)

    def send(self, goal: FineTune.Goal) -> Any:
        self.until(lambda: self.client.server_is_ready())
        future = self.client.send_goal_async(goal, lambda got: self.seen.append(got.feedback))
        self.until(future.done)
        return future.result()

    def set(self, **parameters: object) -> None:
        """Of the trainer."""
        for name, value in parameters.items():
            self.trainer.set_parameters([rclpy.Parameter(name, value=value)])

    def close(self) -> None:
        self.trainer.halt()
        self.executor.shutdown()
        self.node.destroy_node()
        self.trainer.destroy_node()


def instead(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """The node starts ``script`` where it would start the training."""
    monkeypatch.setattr(Launch, "command", (sys.executable, "-c", script))


@pytest.fixture
def real_person() -> Iterator[Person]:
    """Whose trainer starts what it would start for anybody."""
    rclpy.init()
    made = Person()
    yield made
    made.close()
    rclpy.try_shutdown()


@pytest.fixture
def person(real_person: Person, monkeypatch: pytest.MonkeyPatch) -> Person:
    instead(monkeypatch, TRAINS)
    return real_person


def goal(tmp_path: Path, steps: int) -> FineTune.Goal:
    return FineTune.Goal(
        data=str(tmp_path),
        out=str(tmp_path / "run"),
        size="micro",
        preset="micro-cpu",
        fields=[f"steps={steps}"],
    )


def test_progress_is_feedback_and_the_end_is_a_result(person: Person, tmp_path: Path) -> None:
    handle = person.send(goal(tmp_path, 5))
    assert handle.accepted
    over = handle.get_result_async()
    person.until(over.done)
    result = over.result().result
    assert (result.reason, result.step) == (result.FINISHED, 5)
    assert person.seen and person.seen[-1].steps == 5
    assert "samples_s" in person.seen[-1].names
    assert person.seen[0].loss > person.seen[-1].loss or len(person.seen) == 1


def test_cancel_saves_and_says_how_to_go_on(person: Person, tmp_path: Path) -> None:
    handle = person.send(goal(tmp_path, 500))
    over = handle.get_result_async()
    person.until(lambda: bool(person.seen))
    person.until(handle.cancel_goal_async().done)
    person.until(over.done)
    result = over.result().result
    assert result.reason == result.CANCELED
    assert "the same goal continues" in result.message


def test_the_page_starts_what_the_trainer_is_set_up_for(person: Person, tmp_path: Path) -> None:
    """The page names no folder; progress, saving and the end come back as its status."""
    state, steering = PageState(), Node("steering")
    training = PageTraining(steering, state)
    person.executor.add_node(steering)

    def shown() -> dict[str, Any]:
        return state.snapshot().status["training"] or {}

    person.until(lambda: shown().get("step") == 0)
    refused: list[str] = []
    asked = threading.Thread(target=lambda: refused.append(said(training.start)))
    asked.start()
    person.until(lambda: not asked.is_alive())
    assert "its parameters data, out" in refused[0]
    person.set(data=str(tmp_path), out=str(tmp_path / "run"), size="micro", preset="micro-cpu")
    asked = threading.Thread(target=lambda: refused.append(said(training.start)))
    asked.start()
    person.until(lambda: shown().get("step", 0) > 0)
    asked.join()
    assert refused[1] == "Fine-tuning has started" and shown()["running"]
    assert shown()["steps"] == 8000, "of the preset micro-cpu"
    assert "trains already" in said(training.start)
    assert "saves" in training.stop()
    person.until(lambda: not shown()["running"])
    assert "the same goal continues" in shown()["message"]
    assert "nothing is training" in said(training.stop)
    person.executor.remove_node(steering)
    steering.destroy_node()


def test_the_page_shows_and_stops_what_others_started(person: Person, tmp_path: Path) -> None:
    """Also one that trained before the page was there: a browser is not where training begins."""
    handle = person.send(goal(tmp_path, 500))
    over = handle.get_result_async()
    person.until(lambda: bool(person.seen))
    state, steering = PageState(), Node("steering")
    training = PageTraining(steering, state)
    person.executor.add_node(steering)

    def shown() -> dict[str, Any]:
        return state.snapshot().status["training"] or {}

    person.until(lambda: shown().get("step", 0) > 0)
    assert shown()["running"] and shown()["steps"] == 500
    assert "trains already" in said(training.start) and "saves" in said(training.stop)
    person.until(over.done)
    assert over.result().result.reason == FineTune.Result.CANCELED
    person.until(lambda: not shown()["running"])
    assert shown()["message"] == over.result().result.message
    person.executor.remove_node(steering)
    steering.destroy_node()


def said(call: Callable[[], str]) -> str:
    try:
        return call()
    except PageError as refusal:
        return str(refusal)


def test_a_second_goal_and_a_wrong_one_are_refused(person: Person, tmp_path: Path) -> None:
    wrong = goal(tmp_path, 5)
    wrong.preset = "best"
    assert not person.send(wrong).accepted
    assert person.send(goal(tmp_path, 500)).accepted
    person.until(lambda: bool(person.seen))
    assert not person.send(goal(tmp_path / "other", 5)).accepted


def test_halting_while_the_checkpoint_loads_is_an_end_in_order(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing handles SIGTERM then: the process ends with a status that is not 0."""
    instead(monkeypatch, LOADS)
    over = person.send(goal(tmp_path, 500)).get_result_async()
    person.until(lambda: "training in" in person.trainer.diagnose()[1])
    person.trainer.halt()
    person.until(over.done)
    result = over.result().result
    assert result.reason == result.CANCELED
    assert "ended with status -15" in result.message


def real_goal(folder: Path, out: str, steps: int) -> FineTune.Goal:
    """A network of a hundred thousand numbers on a few ticks."""
    fields = {"steps": steps, "batch": 2, "micro": 2, "log_every": 1, "look_every": 0,
              "bin_sigma": 0.0}  # fmt: skip
    return FineTune.Goal(
        data=str(folder / "data"),
        out=str(folder / out),
        base=str(folder / "base"),
        preset="nano-cpu",
        fields=[f"{name}={value}" for name, value in fields.items()],
    )


def saved(folder: Path) -> list[str]:
    return [path.parent.name for path in folder.glob("step-*/state.json")]


@pytest.mark.slow
def test_the_real_training_ends_and_is_canceled_with_a_checkpoint(
    real_person: Person, tmp_path: Path
) -> None:
    source_of(tmp_path, small_recipe(), episodes=2)
    real_person.set(device="cpu", options="--unchecked")
    over = real_person.send(real_goal(tmp_path, "short", 3)).get_result_async()
    real_person.until(over.done)
    result = over.result().result
    assert result.reason == result.FINISHED, result.message
    assert result.step == 3 and saved(tmp_path / "short") == ["step-00000003"]

    handle = real_person.send(real_goal(tmp_path, "long", 5000))
    over = handle.get_result_async()
    real_person.until(lambda: over.done() or any(one.steps == 5000 for one in real_person.seen))
    real_person.until(handle.cancel_goal_async().done)
    real_person.until(over.done)
    result = over.result().result
    assert result.reason == result.CANCELED, result.message
    assert f"continues at step {result.step}" in result.message
    assert saved(tmp_path / "long") == [f"step-{result.step:08d}"]
