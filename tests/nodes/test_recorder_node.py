"""The recorder as an operator meets it: refuses, warns, records, labels, counts, starts again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "bags"))
from bag_helpers import read_all
from molmoact_msgs.action import RecordEpisode
from molmoact_msgs.msg import EpisodeEvent, EpisodeStatus, TopicHealth
from molmoact_msgs.srv import ConfigureSession, LabelEpisode, SelectTask, StartEpisode
from rclpy.action import ActionClient
from recorder_helpers import scene
from std_srvs.srv import Trigger

from molmoact_ros.bags.cdr import read_stamp_ns
from molmoact_ros.bags.reader import BagReader

pytestmark = pytest.mark.timeout(400)
SUCCESS, FAILURE, DISCARD, NOTE = range(4)


def test_an_episode_from_start_to_label(tmp_path: Path) -> None:
    """One key starts, one stops, one labels; the bag holds everything published meanwhile."""
    folder = tmp_path / "episodes"
    with scene(folder, operator_name="Ana", robot="test arm") as (robot, operator, _):
        episode = operator.start("pick up the cube")
        operator.listen(0.5)
        first = robot.get_clock().now().nanoseconds
        operator.listen(3.0)
        last = robot.get_clock().now().nanoseconds
        operator.listen(0.5)
        status = operator.status
        assert status.state == EpisodeStatus.RECORDING and status.task == "pick up the cube"
        assert status.bytes_free > 0 and status.seconds_free > 0 and status.dropped == 0
        health = {item.topic: item for item in status.topics}
        assert health["/joint_states"].messages > 20
        assert health["/pose"].level == TopicHealth.OK, "an optional topic may be silent"
        assert operator.label(NOTE, "the gripper squeaks").accepted
        operator.stop()
        assert "label it" in operator.status.detail
        assert operator.label(SUCCESS, "neat").accepted
        assert operator.wait(lambda: operator.status.state == EpisodeStatus.IDLE)
        assert operator.wait(lambda: len(operator.events) >= 4)
        kinds = [event.event for event in operator.events]
        assert kinds == [EpisodeEvent.STARTED, EpisodeEvent.NOTE, EpisodeEvent.STOPPED,
                         EpisodeEvent.LABELLED]  # fmt: skip
    bag = folder / episode
    found = read_all(bag)
    for topic, stored in (("/joint_states",) * 2, ("/cam/color/image_raw",
                                                   "/cam/color/image_raw/compressed")):  # fmt: skip
        have = {read_stamp_ns(data) for _, data in found[stored]}
        wanted = [stamp for stamp in robot.sent[topic] if first <= stamp <= last]
        assert len(wanted) > 20 and set(wanted) <= have, f"{topic} lost messages"
    assert len(found["/robot_description"]) == 1, "latched topics belong into every bag"
    reader = BagReader(bag)
    origin = reader.custom
    assert (origin["outcome"], origin["operator"], origin["robot"]) == (
        "success",
        "Ana",
        "test arm",
    )
    assert "neat" in origin["note"] and "pick up the cube" in origin["prompt"]
    assert len(origin["urdf"]) == 16 and origin["dropped"] == "0" and origin["commit"]
    events = [reader.decode(m) for m in reader.messages(["/recorder/event"])]
    assert json.loads(events[0].text)["task"] == "pick up the cube"
    assert [event.event for event in events] == [0, 2, 1]


def test_it_refuses_to_start_without_a_required_camera(tmp_path: Path) -> None:
    with scene(tmp_path / "episodes") as (robot, operator, _):
        operator.start()
        operator.stop()
        robot.camera_on = False
        operator.listen(1.5)
        answer = operator.ask(StartEpisode, "start", task="pick up the cube")
        assert not answer.accepted and "/cam/color/image_raw" in answer.message
        assert "check" in answer.message
        answer = operator.ask(StartEpisode, "start", task="")
        assert not answer.accepted


def test_the_action_ends_when_the_service_stops_it_and_can_be_canceled(tmp_path: Path) -> None:
    """An action client and a page may work on one episode; a goal never waits for ever."""
    with scene(tmp_path / "episodes") as (_, operator, _recorder):
        operator.start()
        operator.stop()
        client = ActionClient(operator, RecordEpisode, "/recorder/record_episode")
        assert operator.wait(client.server_is_ready)
        feedback: list[object] = []
        for end in ("stop", "cancel", "time"):
            goal = RecordEpisode.Goal(task="push the cube")
            goal.max_duration.sec = 2 if end == "time" else 0
            sent = client.send_goal_async(goal, feedback_callback=feedback.append)
            assert operator.wait(sent.done) and sent.result().accepted
            result = sent.result().get_result_async()
            assert operator.wait(lambda: operator.status.state == EpisodeStatus.RECORDING)
            operator.listen(0.7)
            if end == "stop":
                assert operator.ask(Trigger, "stop").success
            elif end == "cancel":
                sent.result().cancel_goal_async()
            assert operator.wait(result.done, 20.0), f"the goal hangs after {end}"
            reasons = {"stop": 0, "cancel": 2, "time": 1}
            answer = result.result().result
            assert answer.reason == reasons[end] and Path(answer.bag_path).is_dir()
        assert feedback
        client.destroy()


def test_a_session_counts_and_moves_on(tmp_path: Path) -> None:
    """Next task, redo, discard, and the wish for another scene; counts survive a restart."""
    folder = tmp_path / "episodes"
    tasks = ["pick up the cube", "push the cube"]
    with scene(folder, tasks=tasks, wanted=1, scene_change_every=2) as (_, operator, _r):
        operator.start(task="")
        assert operator.status.task == tasks[0] or operator.wait(
            lambda: operator.status.task == tasks[0]
        )
        answer = operator.ask(Trigger, "redo")
        assert answer.success and tasks[0] in answer.message
        assert operator.wait(lambda: operator.status.episode_id == "episode_000002")
        assert operator.wait(lambda: operator.status.state == EpisodeStatus.RECORDING)
        operator.listen(0.5)
        assert operator.label(SUCCESS).accepted, "a label during a take ends it"
        assert operator.wait(lambda: operator.session.task == tasks[1])
        counts = operator.session.tasks[0]
        assert (counts.success, counts.discarded) == (1, 1)
        operator.start(task="")
        operator.stop()
        operator.label(SUCCESS)
        assert operator.wait(lambda: "move the objects" in operator.session.prompt)
        operator.ask(Trigger, "scene_changed")
        assert operator.wait(lambda: "enough" in operator.session.prompt)
        chosen = operator.ask(SelectTask, "select_task", index=0)
        assert chosen.accepted and chosen.task == tasks[0]
        assert not operator.ask(SelectTask, "select_task", index=7).accepted
        wrong = operator.ask(ConfigureSession, "configure_session", tasks=["a", "a"])
        assert not wrong.accepted and "repeated" in wrong.message
        assert not operator.label(9).accepted
        assert not operator.label(SUCCESS, episode="../evil").accepted
    with scene(folder, tasks=tasks, wanted=2) as (_, operator, _r):
        assert operator.wait(lambda: len(operator.session.tasks) == 2)
        assert [c.success for c in operator.session.tasks] == [1, 1]
        answer = operator.ask(LabelEpisode, "label_episode", episode_id="episode_000003", outcome=1)
        assert answer.accepted
        assert operator.wait(lambda: operator.session.tasks[1].failure == 1)
