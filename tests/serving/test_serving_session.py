"""A robot's conversation with the server over a real socket."""

from __future__ import annotations

import random
import socket as sockets
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

sys.path.insert(0, str(Path(__file__).parent))
from serving_helpers import (
    MODEL,
    ROBOT,
    FakePolicy,
    Raw,
    Running,
    StreamingFake,
    eventually,
    observation,
    raw,
    running,
)

from molmoact_ros.policy.wire.codec import DEFAULT_LIMITS, pack
from molmoact_ros.policy.wire.handshake import expect, read_hello
from molmoact_ros.policy.wire.requests import Think, request_to_wire

RESET = {"type": "reset", "id": 1, "instruction": "pick up the cube"}


@pytest.fixture
def server() -> Iterator[Running]:
    with running() as up:
        yield up


@pytest.fixture
def robot(server: Running) -> Iterator[Raw]:
    with raw(server.url) as client:
        assert client.ask(RESET) == {"type": "reset_done", "id": 1}
        yield client


def test_the_server_introduces_itself_first(server: Running) -> None:
    with raw(server.url, shaken=False) as client:
        assert read_hello(client.hear()) == MODEL


def test_a_robot_that_does_not_fit_hears_one_sentence_and_may_correct_itself(
    server: Running,
) -> None:
    with raw(server.url, shaken=False) as client:
        client.hear()
        answer = client.ask(expect(replace(ROBOT, dims=8)))
        assert answer["type"] == "error" and "actions of 8 numbers" in answer["message"]
        assert "expected 'expect' first" in client.ask(RESET)["message"]
        assert client.ask(expect(ROBOT)) == {"type": "ready"}


def test_a_thought_arrives_in_parts_and_then_whole(robot: Raw) -> None:
    robot.think(2, observation(red=7))
    parts = []
    while (message := robot.hear())["type"] == "segment":
        parts.append((message["kind"], message["index"]))
    assert parts == [("depth", 0), ("trace", 0), *(("row", i) for i in range(8))]
    assert message["type"] == "thought" and message["id"] == 2
    assert np.array_equal(message["actions"], np.full((8, 7), 7.0))
    assert message["depth"].shape == (10, 10) and message["trace"].shape == (2, 2)
    assert message["timings"]["total"] == 0.5 and message["timings"]["server"] >= 0


def test_parts_leave_while_the_rest_is_still_being_decoded() -> None:
    """The operator sees the depth map a second before the actions."""
    policy = StreamingFake()
    with running(policy) as server, raw(server.url) as robot:
        robot.ask(RESET)
        policy.hold.clear()
        robot.think(2)
        assert robot.hear()["kind"] == "depth"
        assert not policy.hold.is_set()
        policy.hold.set()
        assert robot.answer()["type"] == "thought"


def test_the_policy_sees_what_the_robot_saw(server: Running, robot: Raw) -> None:
    steering = np.array([[0, 10], [255, 20]], np.float32)
    robot.think(2, observation(red=9, steering=steering))
    robot.answer()
    (seen,) = server.policy.seen
    assert np.array_equal(seen.images[1], observation(red=9).images[1])
    assert np.array_equal(seen.steering, steering)
    assert (seen.stamp, seen.instruction) == (1.7e9, "pick up the cube")
    assert len(server.policy.threads) == 1


@pytest.mark.parametrize(
    ("instruction", "kind", "words"),
    [
        ("nonsense", "refused", "the rows are cut"),
        ("crash", "failed", "KeyError"),
        ("complex", "failed", "cannot be sent"),
        ("misshapen", "failed", "shape [2, 7] or holds NaN, but the robot was told [8, 7]"),
    ],
)
def test_what_goes_wrong_in_the_policy_reaches_the_robot_as_words(
    robot: Raw, instruction: str, kind: str, words: str
) -> None:
    robot.think(2, replace(observation(), instruction=instruction))
    answer = robot.answer()
    assert (answer["type"], answer["id"]) == (kind, 2)
    assert words in answer.get("reason", answer.get("message", ""))
    robot.think(3)
    assert robot.answer()["type"] == "thought"


def test_a_goal_that_the_policy_cannot_serve_fails_at_its_start(robot: Raw) -> None:
    answer = robot.ask({"type": "reset", "id": 2, "instruction": "something impossible"})
    assert (answer["type"], answer["id"]) == ("failed", 2)


def test_cancel_stops_a_running_decode(server: Running, robot: Raw) -> None:
    server.policy.hold.clear()
    robot.think(2)
    assert server.policy.entered.wait(5.0)
    robot.send({"type": "cancel", "id": 1})  # an old one stops nothing
    robot.send({"type": "cancel", "id": 2})
    answer = robot.answer()
    assert (answer["type"], answer["id"]) == ("refused", 2)
    assert server.policy.canceled == 1
    robot.send({"type": "cancel", "id": 2})  # too late is no mistake
    server.policy.hold.set()
    robot.think(3)
    assert robot.answer()["id"] == 3


def test_the_next_goal_waits_for_a_canceled_thought_to_end(server: Running, robot: Raw) -> None:
    """A prefill cannot be interrupted; the robot's next goal must not be lost meanwhile."""
    server.policy.hold.clear()
    server.policy.deaf = True
    robot.think(2)
    assert server.policy.entered.wait(5.0)
    robot.send({"type": "cancel", "id": 2})
    robot.send({"type": "reset", "id": 3, "instruction": "another goal"})
    robot.send({"type": "cancel", "id": 3})
    for number in (4, 5):
        robot.think(number)
        robot.send({"type": "cancel", "id": number})
    robot.think(6)
    assert "too many canceled requests" in robot.hear()["message"]
    server.policy.hold.set()
    answers = [robot.answer() for _ in range(4)]
    assert [(a["type"], a["id"]) for a in answers] == [
        ("thought", 2), ("refused", 3), ("refused", 4), ("refused", 5),
    ]  # fmt: skip
    assert server.policy.resets == ["pick up the cube"]


def think_with(**changes: object) -> dict[str, object]:
    return {**request_to_wire(Think(2, observation())), **changes}


PICTURE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"type": "dance", "id": 2}, "type 'dance' came; send reset, think or cancel"),
        ({"id": 2}, "type 'None'"),
        ({"type": ["think"], "id": 2}, "came; send reset"),
        (think_with(images=[PICTURE]), "1 picture(s) came"),
        (think_with(images=[PICTURE] * 3), "3 pictures came"),
        (think_with(images=[PICTURE, PICTURE[..., :1]]), "uint8 [4, 4, 1]"),
        (think_with(images=[PICTURE, PICTURE.astype(np.float32)]), "float32 [4, 4, 3]"),
        (think_with(images=[PICTURE, PICTURE[:0]]), "4x0 pixels"),
        (think_with(images=[PICTURE, np.zeros((1, 2049, 3), np.uint8)]), "2049x1 pixels"),
        (think_with(images=[PICTURE, {"jpeg": b"\xff\xd8\xff"}]), "JPEG picture is damaged"),
        (think_with(images=[PICTURE, {"png": b""}]), "no array"),
        (think_with(images=None), "'images' is missing"),
        (think_with(stamp=float("nan")), "finite number"),
        (think_with(stamp=True), "finite number"),
        (think_with(instruction=" "), "empty"),
        (think_with(instruction="pick <im_end>"), "angle brackets"),
        (think_with(steering=np.zeros((6, 2), np.float32)), "6 points"),
        (think_with(steering=np.zeros((0, 2), np.float32)), "0 points"),
        (think_with(steering=np.full((2, 2), 256, np.float32)), "leaves the picture"),
        (think_with(steering=np.full((2, 2), np.nan, np.float32)), "NaN"),
        (think_with(steering=np.zeros((2, 2))), "float64"),
        (think_with(id=1), "id 1 is not above 1"),
        (think_with(id=-1), "whole number"),
        (think_with(id=2**60), "whole number"),
        (think_with(tool=1), "unknown field 'tool'"),
        (expect(ROBOT), "type 'expect' came"),
    ],
)
def test_a_wrong_message_gets_words_and_the_conversation_goes_on(
    robot: Raw, message: dict[str, object], words: str
) -> None:
    answer = robot.ask(message)
    assert answer["type"] == "error" and words in answer["message"]
    robot.think(3)
    assert robot.answer()["type"] == "thought"


def test_messages_out_of_order_get_words(server: Running) -> None:
    with raw(server.url) as robot:
        robot.think(1)
        assert "think came before reset" in robot.hear()["message"]
        robot.ask(RESET)
        server.policy.hold.clear()
        robot.think(2)
        robot.think(3)
        answer = robot.hear()
        assert answer["id"] == 3 and "still being answered" in answer["message"]
        server.policy.hold.set()
        assert robot.answer()["id"] == 2


def test_an_oversized_message_gets_words_and_the_connection_lives(robot: Raw) -> None:
    robot.socket.send(b"\x00" * (DEFAULT_LIMITS.message_bytes + 1))
    assert "the limit is 16777216" in robot.hear()["message"]
    robot.think(2)
    assert robot.answer()["type"] == "thought"


def test_a_message_that_would_fill_the_memory_ends_its_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("molmoact_ros.serving.server.MAX_FRAME_BYTES", 10_000)
    with running() as server:
        with raw(server.url) as robot:
            robot.socket.send(b"\x00" * 10_001)
            with pytest.raises(ConnectionClosed) as closed:
                robot.hear()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        with raw(server.url) as robot:
            assert robot.ask(RESET)["type"] == "reset_done"


def mutations(count: int) -> Iterator[bytes | str]:
    """Seeded nonsense: random bytes, flipped bytes of good messages, cut ones, odd values."""
    chance = random.Random(5)
    good = [
        pack(RESET),
        pack(request_to_wire(Think(2, observation(height=2)))),
        pack(expect(ROBOT)),
    ]
    odd = [None, True, -1, 2**63, 1.5, float("inf"), "", b"", [], {}, {"type": {}}, [[[]]]]
    for number in range(count):
        data = bytearray(chance.choice(good))
        if number % 4 == 0:
            yield chance.randbytes(chance.randrange(300))
        elif number % 4 == 1:
            for _ in range(1 + chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            yield bytes(data)
        elif number % 4 == 2:
            yield bytes(data[: chance.randrange(len(data))])
        else:
            message = msgpack.unpackb(chance.choice(good))
            message[chance.choice([*message, "new"])] = chance.choice(odd)
            yield msgpack.packb(message) if chance.random() < 0.9 else "some text"


def test_a_thousand_malformed_messages_leave_the_server_up_and_small(
    server: Running, robot: Raw
) -> None:
    """One bad cable or program must not take the policy away from the robot, nor the memory."""
    nonsense = list(mutations(1000))
    process = psutil.Process()
    errors = 0
    before = process.memory_info().rss
    for message in nonsense:
        robot.socket.send(message)
        # A mutation may happen to be a valid request; its end is awaited by the probe below.
        robot.send({"type": "probe"})
        while "'probe'" not in (heard := robot.hear()).get("message", ""):
            errors += heard["type"] == "error"
    assert errors > 900
    assert process.memory_info().rss - before < 60e6
    highest = 2**53 - 1
    assert eventually(lambda: robot_still_thinks(robot, highest))


def robot_still_thinks(robot: Raw, number: int) -> bool:
    robot.think(number)
    return robot.answer()["type"] == "thought"


def test_a_second_robot_hears_one_sentence_and_the_first_goes_on(
    server: Running, robot: Raw
) -> None:
    with raw(server.url, shaken=False) as second:
        answer = second.hear()
        assert answer["type"] == "error"
        assert answer["message"].startswith("another robot is connected")
        with pytest.raises(ConnectionClosed) as closed:
            second.hear()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        assert "another robot" in closed.value.rcvd.reason
    robot.think(2)
    assert robot.answer()["type"] == "thought"


def test_a_robot_that_leaves_stops_its_thought_and_frees_the_place(server: Running) -> None:
    server.policy.hold.clear()
    with raw(server.url) as robot:
        robot.ask(RESET)
        robot.think(2)
        assert server.policy.entered.wait(5.0)
    assert eventually(lambda: server.policy.canceled == 1)
    server.policy.hold.set()
    with raw(server.url) as robot:
        assert robot.ask(RESET)["type"] == "reset_done"


def test_a_silent_connection_cannot_keep_the_robot_out(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molmoact_ros.serving.session.HANDSHAKE_TIMEOUT_S", 0.2)
    with raw(server.url, shaken=False) as silent:
        silent.hear()
        assert "no valid expect message came" in silent.hear()["message"]
        with pytest.raises(ConnectionClosed):
            silent.hear()
    with raw(server.url) as robot:
        assert robot.ask(RESET)["type"] == "reset_done"


def http(server: Running, request: bytes) -> bytes:
    with sockets.create_connection(("127.0.0.1", server.port), 5.0) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_health_is_answered_over_http_even_while_thinking(server: Running, robot: Raw) -> None:
    server.policy.hold.clear()
    robot.think(2)
    reply = http(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200") and reply.endswith(b"\r\n\r\nok\n")


def test_bytes_that_are_no_http_do_no_harm(server: Running) -> None:
    for request in (b"\x00" * 50 + b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"GET /\r\n\r\n"):
        http(server, request)
    with raw(server.url) as robot:
        assert robot.ask(RESET)["type"] == "reset_done"


@pytest.mark.parametrize("path", ["/nothing", "/openpi/x", "//"])
def test_an_unknown_path_names_the_known_ones(server: Running, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(server.url + path, proxy=None)
    assert refused.value.response.status_code == 404
    assert b"/openpi" in refused.value.response.body


def test_a_browser_is_refused(server: Running) -> None:
    """Any web page may open a websocket to loopback; only browsers send an origin."""
    for origin in ("http://evil.example", f"http://127.0.0.1:{server.port}", "null"):
        with pytest.raises(InvalidStatus) as refused:
            connect(server.url, origin=origin, proxy=None)
        assert refused.value.response.status_code == 403


TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", f"Bearer {TOKEN[:-1]}", TOKEN, f"Basic {TOKEN}", "Bearer"]
)
def test_without_the_token_nobody_comes_in(header: str | None) -> None:
    with running(token=TOKEN) as server:
        headers = {"Authorization": header} if header else {}
        for path in ("/", "/openpi"):
            with pytest.raises(InvalidStatus) as refused:
                connect(server.url + path, additional_headers=headers, proxy=None)
            assert refused.value.response.status_code == 401
        assert http(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_with_the_token_the_robot_comes_in() -> None:
    with running(token=TOKEN) as server, raw(server.url, token=TOKEN) as robot:
        assert robot.ask(RESET)["type"] == "reset_done"


def test_a_server_that_ends_leaves_a_thought_to_its_cancel() -> None:
    """SIGTERM while thinking must not hang."""
    policy = FakePolicy()
    with running(policy) as server, raw(server.url) as robot:
        robot.ask(RESET)
        policy.hold.clear()
        robot.think(2)
        assert policy.entered.wait(5.0)
        server.stop()
        assert policy.canceled == 1 or eventually(lambda: policy.canceled == 1)
