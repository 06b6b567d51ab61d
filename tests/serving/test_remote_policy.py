"""The remote policy: whatever happens to server or network, words come within the timeout."""

from __future__ import annotations

import os
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

sys.path.insert(0, str(Path(__file__).parent))
from serving_helpers import (
    MODEL,
    FakePolicy,
    StreamingFake,
    a_thought,
    eventually,
    observation,
    raw,
    running,
)

from molmoact_ros.policy.base import PolicyError, StreamingPolicy
from molmoact_ros.policy.remote import RemotePolicy
from molmoact_ros.policy.startup_checks import RobotDescription
from molmoact_ros.policy.wire import answers
from molmoact_ros.policy.wire.codec import pack, unpack
from molmoact_ros.policy.wire.handshake import hello
from molmoact_ros.reasoning.thought import ThoughtRefused


def never() -> bool:
    return False


@contextmanager
def remote(url: str, **more: object) -> Iterator[RemotePolicy]:
    policy = RemotePolicy(url, **{"timeout": 5.0, "connect_timeout": 3.0, **more})
    try:
        yield policy
    finally:
        policy.close()


def free_port() -> int:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_thought_is_the_same_here_and_there() -> None:
    with running() as server, remote(server.url) as policy:
        policy.reset("pick up the cube.")
        thought = policy.think(observation(red=3), never)
        assert np.array_equal(thought.actions, a_thought(3.0).actions)
        assert np.array_equal(thought.depth, a_thought().depth)
        assert np.array_equal(thought.trace, a_thought().trace)
        assert thought.text == "thought 3.0" and not thought.steered
        assert set(thought.timings) == {"total", "server", "network"}
        assert thought.timings["total"] >= thought.timings["network"] >= 0
        assert server.policy.resets == ["pick up the cube"]
        assert not policy.needs_geometry


def test_it_says_who_thinks_and_with_which_weights() -> None:
    with running() as server, remote(server.url) as policy:
        assert policy.wait_connected(5.0)
        assert policy.description == f"fake (r1), weights: RANDOM, a test, at {server.url}"
        assert policy.model == MODEL


def test_parts_arrive_before_the_whole() -> None:
    fake = StreamingFake()
    with running(fake) as server, remote(server.url) as policy:
        assert isinstance(policy, StreamingPolicy)
        policy.reset("go")
        fake.hold.clear()
        kinds: list[str] = []

        def heard(segment: object) -> None:
            kinds.append(segment.kind)
            fake.hold.set()  # only now may the rest be decoded

        thought = policy.think_streaming(observation(), never, heard)
        assert kinds == ["depth"] and thought.actions.shape == (8, 7)


@pytest.mark.parametrize(
    ("instruction", "error", "words"),
    [
        ("nonsense", ThoughtRefused, "the rows are cut"),
        ("crash", PolicyError, "KeyError"),
        ("pick <up>", PolicyError, "angle brackets"),
    ],
)
def test_errors_keep_their_kind(instruction: str, error: type[Exception], words: str) -> None:
    """A refused answer may be asked again; a policy that cannot think ends the goal."""
    with running() as server, remote(server.url) as policy:
        policy.reset("go")
        with pytest.raises(error, match=words) as caught:
            policy.think(replace(observation(), instruction=instruction), never)
        if isinstance(caught.value, ThoughtRefused):
            assert caught.value.text == "the text"
        assert policy.think(observation(), never).actions.shape == (8, 7)


def test_goals_that_cannot_be_served_fail_at_their_start() -> None:
    with running() as server, remote(server.url) as policy:
        with pytest.raises(PolicyError, match="cannot do that"):
            policy.reset("something impossible")
        with pytest.raises(PolicyError, match="empty"):
            policy.reset("  ")


def test_pictures_beyond_the_limit_are_an_error_here() -> None:
    with running() as server, remote(server.url) as policy:
        policy.reset("go")
        huge = np.zeros((2048, 2048, 3), np.uint8)
        with pytest.raises(PolicyError, match="use JPEG or smaller pictures"):
            policy.think(replace(observation(), images=(huge, huge)), never)
        assert policy.think(observation(), never).actions.shape == (8, 7)


def test_jpeg_is_close_and_raw_is_exact() -> None:
    rows, columns = np.mgrid[0:240, 0:320]
    smooth = np.stack([rows, columns // 2, rows // 2 + columns // 4], axis=2).astype(np.uint8)
    seen = replace(observation(), images=(smooth, smooth))
    for jpeg, tolerance in ((None, 0), (False, 0), (True, 12)):
        with running() as server, remote(server.url, jpeg=jpeg) as policy:
            policy.reset("go")
            policy.think(seen, never)
            arrived = server.policy.seen[0].images[1].astype(int)
            assert np.abs(arrived - smooth).max() <= tolerance
            assert (np.abs(arrived - smooth).max() > 0) == bool(jpeg)


def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    with remote(url, connect_timeout=0.3) as policy:
        with pytest.raises(PolicyError, match=f"no connection to the policy server {url}.*serve"):
            policy.reset("go")
        with pytest.raises(PolicyError, match="no connection"):
            policy.think(observation(), never)
        assert "no connection" in policy.description and policy.model is None


def test_a_canceled_goal_does_not_wait_for_a_connection() -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    with (
        remote(url, timeout=60.0, connect_timeout=60.0) as policy,
        pytest.raises(ThoughtRefused, match="canceled"),
    ):
        policy.think(observation(), lambda: True)


@pytest.mark.parametrize(
    "url", ["http://robot:1", "robot:8770", "ws://", "ws://h:0", "ws://h:x", ""]
)
def test_an_address_that_can_never_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(PolicyError, match="give ws://host:port"):
        RemotePolicy(url)


def test_the_server_may_start_later_than_the_robot() -> None:
    port = free_port()
    with remote(f"ws://127.0.0.1:{port}", connect_timeout=8.0) as policy:
        assert not policy.wait_connected(0.3)
        with running(port=port):
            policy.reset("go")
            assert policy.think(observation(), never).actions.shape == (8, 7)


def test_a_robot_that_does_not_fit_is_told_in_one_sentence() -> None:
    robot = RobotDescription(dims=8, gripper="0open_1closed")
    with running() as server, remote(server.url, robot=robot, connect_timeout=1.0) as policy:
        with pytest.raises(PolicyError) as refused:
            policy.reset("go")
        assert str(refused.value).startswith("the policy server does not fit: the robot executes")
        assert str(refused.value).endswith("(and 1 more)")
        assert server.policy.resets == []


def test_a_wrong_token_is_named() -> None:
    token = "0123456789abcdef"
    with running(token=token) as server:
        with (
            remote(server.url, token="wrong", connect_timeout=0.5) as policy,
            pytest.raises(PolicyError, match="refused the token"),
        ):
            policy.reset("go")
        with remote(server.url, token=token) as policy:
            policy.reset("go")


def test_an_occupied_server_is_named_and_taken_when_it_is_free() -> None:
    with (
        running() as server,
        raw(server.url) as first,
        remote(server.url, connect_timeout=0.5) as policy,
    ):
        with pytest.raises(PolicyError, match="another robot is connected"):
            policy.reset("go")
        first.socket.close()
        assert policy.wait_connected(10.0)
        policy.reset("go")


def test_a_slow_thought_ends_at_the_timeout_and_its_late_answer_is_thrown_away() -> None:
    """A chunk for a picture of long ago would move the arm to where the cube was."""
    fake = FakePolicy()
    with running(fake) as server, remote(server.url, timeout=0.4) as policy:
        policy.reset("go")
        fake.hold.clear()
        fake.deaf = True
        with pytest.raises(PolicyError, match="did not answer within 0.4 s"):
            policy.think(observation(red=1), never)
        threading.Timer(0.1, fake.hold.set).start()
        assert policy.think(observation(red=2), never).actions[0, 0] == 2.0


def test_a_canceled_goal_is_let_go_at_once_and_stopped_on_the_server() -> None:
    fake = FakePolicy()
    with running(fake) as server, remote(server.url) as policy:
        policy.reset("go")
        fake.hold.clear()
        with pytest.raises(ThoughtRefused, match="canceled"):
            policy.think(observation(), fake.entered.is_set)
        assert eventually(lambda: fake.canceled == 1)
        fake.hold.set()
        policy.reset("again")
        assert policy.think(observation(red=5), never).actions[0, 0] == 5.0


def test_a_server_that_restarts_is_found_again_and_hears_of_the_goal() -> None:
    """The goal runs on after a short break, but the new server has never heard of it."""
    port = free_port()
    with remote(f"ws://127.0.0.1:{port}", connect_timeout=8.0) as policy:
        with running(port=port):
            policy.reset("pick up the cube")
            policy.think(observation(), never)
        assert eventually(lambda: policy.model is None), "the break must be noticed"
        with running(port=port) as second:
            assert policy.think(observation(red=4), never).actions[0, 0] == 4.0
            assert second.policy.resets == ["pick up the cube"]


SERVER = """
import sys; sys.path[:0] = [{helpers!r}]
from serving_helpers import FakePolicy, MODEL, Running
policy = FakePolicy()
running = Running(policy, MODEL, {port}, "")
if {stuck}: policy.hold.clear()
print("up", flush=True)
policy.entered.wait()
print("thinking", flush=True)
import time; time.sleep(60)
"""


@contextmanager
def process(port: int, stuck: bool) -> Iterator[subprocess.Popen[str]]:
    code = SERVER.format(helpers=str(Path(__file__).parent), port=port, stuck=stuck)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "up\n"
        yield child
    finally:
        child.kill()
        child.wait(10.0)


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except (PolicyError, ThoughtRefused) as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_dies_or_freezes_while_thinking_ends_in_words(how: signal.Signals) -> None:
    """kill -9 breaks the connection; a frozen machine says nothing, and the timeout must end it."""
    port = free_port()
    with remote(f"ws://127.0.0.1:{port}", timeout=3.0, connect_timeout=3.0) as policy:
        with process(port, stuck=True) as child:
            policy.wait_connected(10.0)
            policy.reset("go")
            thread, errors = in_thread(lambda: policy.think(observation(), never))
            assert child.stdout is not None and child.stdout.readline() == "thinking\n"
            os.kill(child.pid, how)
            thread.join(20.0)
            assert not thread.is_alive() and len(errors) == 1
            assert isinstance(errors[0], PolicyError)
            words = "did not answer within 3 s" if how == signal.SIGSTOP else "policy server"
            assert words in str(errors[0])
        with process(port, stuck=False):
            assert policy.wait_connected(20.0)
            policy.reset("go")
            assert policy.think(observation(red=6), never).actions[0, 0] == 6.0


@contextmanager
def imposter(answer: Callable[[int], bytes | str]) -> Iterator[str]:
    """A server that shakes hands properly and then answers every think with ``answer``."""

    def handle(socket: ServerConnection) -> None:
        socket.send(pack(hello(MODEL)))
        socket.recv()
        socket.send(pack({"type": "ready"}))
        for data in socket:
            message = unpack(data)
            if message["type"] == "reset":
                socket.send(pack({"type": "reset_done", "id": message["id"]}))
            elif message["type"] == "think":
                socket.send(answer(message["id"]))

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def thought_with(number: int, **changes: object) -> bytes:
    message = answers.answer_to_wire(answers.Thinking(number, a_thought()))
    return pack({**message, **changes})


@pytest.mark.parametrize(
    "answer",
    [
        lambda n: thought_with(n, actions=np.zeros((7, 7))),
        lambda n: thought_with(n, actions=np.full((8, 7), np.nan)),
        lambda n: thought_with(n, actions=np.full((8, 7), np.inf)),
        lambda n: thought_with(n, actions=np.zeros((8, 7), np.float32)),
        lambda n: thought_with(n, actions=None),
        lambda n: thought_with(n, trace=np.zeros((6, 2), np.float32)),
        lambda n: thought_with(n, trace=np.full((2, 2), 256, np.float32)),
        lambda n: thought_with(n, depth=np.full((10, 10), 128, np.uint8)),
        lambda n: thought_with(n, depth=np.zeros((0, 10), np.uint8)),
        lambda n: thought_with(n, timings={"total": "long"}),
        lambda n: thought_with(n, timings={str(i): 1 for i in range(65)}),
        lambda n: thought_with(n, steered=None),
        lambda n: thought_with(n, text=5),
        lambda n: pack({"type": "surprise", "id": n}),
        lambda n: pack({"type": "segment", "id": n, "kind": "row", "index": 8, "values": None}),
        lambda n: pack({"type": "segment", "id": n, "kind": "mood", "index": 0, "values": None}),
        lambda n: b"\xc1",
        lambda n: "text",
    ],
)
def test_a_damaged_answer_never_becomes_a_chunk(answer: Callable[[int], bytes | str]) -> None:
    with imposter(answer) as url, remote(url) as policy:
        policy.reset("go")
        with pytest.raises(PolicyError, match="answer is damaged"):
            policy.think(observation(), never)


def test_an_answer_to_another_question_is_not_taken() -> None:
    with imposter(lambda n: thought_with(n + 1)) as url, remote(url, timeout=0.5) as policy:
        policy.reset("go")
        with pytest.raises(PolicyError, match="did not answer"):
            policy.think(observation(), never)


def test_a_server_of_another_kind_is_named() -> None:
    def handle(socket: ServerConnection) -> None:
        socket.send(b"\x93\x01\x02\x03")
        time.sleep(0.2)

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        with (
            remote(url, connect_timeout=0.5) as policy,
            pytest.raises(PolicyError, match="does not speak our protocol"),
        ):
            policy.reset("go")
        server.shutdown()
        thread.join()
