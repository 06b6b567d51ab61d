"""The server on a real socket: who gets in, what survives, and that STOP always works."""

from __future__ import annotations

import asyncio
import json
import random
import socket as sockets
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from web_helpers import Recorder, ask, base, go, page, until, wait_for

from molmoact_ros.web import protocol
from molmoact_ros.web.client import IN_FLIGHT
from molmoact_ros.web.page import PageError, PageState, Stream
from molmoact_ros.web.security import BindRefusedError
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import CommandStatus, PolicyStatus, Session, ThoughtView

TOKEN = "a-token-of-24-characters"


def picture(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


@pytest.fixture
def state() -> PageState:
    return PageState(Session("tests", "nothing", ("pick up the red cube",)))


@pytest.fixture
def commands() -> Recorder:
    return Recorder()


@pytest.fixture
def server(state: PageState, commands: Recorder) -> Iterator[SteeringServer]:
    with SteeringServer(state, commands, port=0) as running:
        yield running


# --- who gets in -----------------------------------------------------------------


def test_an_open_address_without_a_token_is_refused_before_anything_binds(
    state: PageState, commands: Recorder
) -> None:
    with pytest.raises(BindRefusedError, match="set a token"):
        SteeringServer(state, commands, host="0.0.0.0", port=0)


def test_a_taken_port_is_named_with_its_remedy(state: PageState, commands: Recorder) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PageError, match=f"{port}.*choose another port"):
            SteeringServer(state, commands, port=port).start()


def test_the_page_and_its_files_come_with_strict_headers(server: SteeringServer) -> None:
    """A script from elsewhere could press Start; the policy forbids all but our own files."""

    async def work() -> None:
        async with aiohttp.ClientSession(base(server)) as session:
            for path in ("/", "/static/app.js", "/static/style.css", "/static/icon.svg"):
                async with session.get(path) as reply:
                    assert reply.status == 200
                    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
                    assert "unsafe" not in reply.headers["Content-Security-Policy"]
                    assert reply.headers["X-Content-Type-Options"] == "nosniff"
            for path in ("/static/../server.py", "/static/%2e%2e%2fserver.py", "/etc/passwd"):
                async with session.get(path) as reply:
                    assert reply.status == 404
            async with session.get("/healthz") as reply:
                assert (await reply.json())["ok"] is True

    go(work())


def test_another_site_in_the_same_browser_is_refused(
    server: SteeringServer, commands: Recorder
) -> None:
    """Cross-site WebSockets and DNS rebinding are how a web page would reach the robot."""

    async def work() -> None:
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Host": "evil.example", "Origin": "http://evil.example"},
        ):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with page(server, headers=headers):
                    pass
            assert refusal.value.status == 403
        async with (
            aiohttp.ClientSession() as session,
            session.get(base(server), headers={"Host": "evil.example"}) as reply,
        ):
            assert reply.status == 403
            assert "allowed_hosts" in await reply.text()

    go(work())
    assert commands.calls == []


def test_with_a_token_only_its_owner_gets_in_but_local_stop_needs_none(
    state: PageState, commands: Recorder
) -> None:
    async def work(server: SteeringServer) -> None:
        for wrong in ({}, {"Authorization": "Bearer nonsense"}, {"Cookie": "molmoact_token=x"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with page(server, headers={"Origin": base(server), **wrong}):
                    pass
            assert refusal.value.status == 401
        async with aiohttp.ClientSession() as session:
            async with session.get(base(server) + "/") as reply:
                assert reply.status == 401 and "terminal" in await reply.text()
            async with session.post(base(server) + "/stop") as reply:
                assert reply.status == 200
            async with session.get(server.url, allow_redirects=False) as reply:
                assert reply.status == 303 and "token" not in reply.headers["Location"]
                cookie = reply.headers["Set-Cookie"]
                assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        async with page(server, headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
            assert (await ask(socket, type="home"))["type"] == "answer"

    with SteeringServer(state, commands, port=0, token=TOKEN) as server:
        assert TOKEN in server.url
        go(work(server))
    assert commands.calls == [("stop",), ("home",)]


def test_too_many_pages_are_turned_away(server: SteeringServer) -> None:
    """Each page costs encoding time; a runaway script must not starve the operator's own."""

    async def work() -> None:
        async with aiohttp.ClientSession() as session:
            opened = [await session.ws_connect(base(server) + "/ws") for _ in range(16)]
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect(base(server) + "/ws")
            assert refusal.value.status == 503
            for socket in opened:
                await socket.close()

    go(work())


# --- commands --------------------------------------------------------------------


def test_commands_reach_the_robot_and_are_answered(
    server: SteeringServer, commands: Recorder
) -> None:
    async def work() -> None:
        async with page(server) as socket:
            answer = await ask(socket, type="start", instruction="pick up the cube", mode="auto")
            assert answer["type"] == "answer" and answer["message"] == "start done"
            for kind in ("reset", "home", "new_scene", "stop"):
                assert (await ask(socket, type=kind))["message"] == f"{kind} done"

    go(work())
    assert commands.calls[0] == ("start", "pick up the cube", "auto")
    assert [call[0] for call in commands.calls[1:]] == ["reset", "home", "new_scene", "stop"]


def test_a_refused_or_broken_command_is_said_and_the_page_lives(server: SteeringServer) -> None:
    """A bug behind one button must not take STOP's connection with it."""

    async def work() -> None:
        async with page(server) as socket:
            refused = await ask(socket, type="start", instruction="refuse")
            assert refused["type"] == "error" and "say something else" in refused["message"]
            broken = await ask(socket, type="start", instruction="crash")
            assert broken["type"] == "error" and "terminal" in broken["message"]
            assert (await ask(socket, type="stop"))["type"] == "answer"

    go(work())


def test_stop_passes_a_command_that_hangs(server: SteeringServer, commands: Recorder) -> None:
    """A service call that waits for a dead node must not be in front of STOP."""

    async def work() -> None:
        commands.gate.clear()
        async with page(server) as socket:
            await socket.send_str(json.dumps({"type": "home", "id": 7}))
            assert await asyncio.to_thread(commands.entered.wait, 5.0)
            assert (await ask(socket, type="stop"))["message"] == "stop done"
            assert not any(call[0] == "home done" for call in commands.calls)
            commands.gate.set()
            await until(socket, lambda body: body.get("id") == 7)

    go(work())
    assert commands.calls == [("home",), ("stop",)]


def test_a_flood_is_limited_but_never_stop(server: SteeringServer, commands: Recorder) -> None:
    async def work() -> None:
        async with page(server) as socket:
            for _ in range(300):
                await socket.send_str(json.dumps({"type": "reset", "id": 5}))
            limited = await until(socket, lambda body: body["type"] == "error")
            assert "too many" in limited["message"]
            assert (await ask(socket, type="stop"))["type"] == "answer"

    go(work())
    assert ("stop",) in commands.calls
    assert sum(call == ("reset",) for call in commands.calls) < 200


def test_a_thousand_malformed_messages_leave_the_connection_alive(
    server: SteeringServer, commands: Recorder
) -> None:
    """Every one may be wrong in its own way; the same connection must still stop the robot."""
    rng = random.Random(4)
    shapes = ('{"type":', "[]", "null", '{"type":"fly"}', '{"type":"start"}', "\u0000", "{" * 500)

    async def work() -> None:
        async with page(server) as socket:
            for index in range(1000):
                if index % 2:
                    await socket.send_str(rng.choice(shapes) + str(rng.random()))
                else:
                    await socket.send_bytes(rng.randbytes(rng.randrange(0, 40)))
            error = await until(socket, lambda body: body["type"] == "error")
            assert "expected" in error["message"] or "JSON" in error["message"]
            assert (await ask(socket, type="stop"))["type"] == "answer"
        async with page(server) as another:
            assert (await until(another, lambda body: body["type"] == "hello"))["version"] == 2

    go(work())
    assert commands.calls == [("stop",)]


def test_stop_works_over_plain_http_even_from_a_strange_page(
    server: SteeringServer, commands: Recorder
) -> None:
    """When the WebSocket is gone, STOP is not; stopping is safe whoever asks for it."""

    async def work() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(base(server) + "/stop", headers={"Host": "x.example"}) as reply,
        ):
            assert reply.status == 200 and (await reply.json())["message"] == "stop done"

    go(work())
    assert commands.calls == [("stop",)]


# --- what the page gets ----------------------------------------------------------


def test_a_new_page_gets_status_thoughts_and_pictures(
    server: SteeringServer, state: PageState
) -> None:
    state.set_policy(PolicyStatus("executing", "pick up", row=2, rows=8))
    state.set_command(CommandStatus("policy", tracking_error=float("nan")))
    state.add_thought(ThoughtView(1, 5.0, trace=((1.0, 2.0),), timings={"encode": 0.1}))
    state.put_image(Stream.EXTERNAL, picture(90), 12.5)

    async def work() -> None:
        async with page(server) as socket:
            status = await until(socket, lambda body: body["type"] == "status")
            assert status["words"]["title"] == "Moving"
            assert status["command"]["tracking_error"] is None
            thought = await until(socket, lambda body: body["type"] == "thought")
            assert thought["thought"]["trace"] == [[1.0, 2.0]]
            data = (await socket.receive(timeout=10.0)).data
            stream, _, stamp, jpeg = protocol.unpack_picture(data)
            assert (stream, stamp) == (Stream.EXTERNAL, 12.5) and jpeg[:2] == b"\xff\xd8"
            pong = await ask_ping(socket)
            assert pong["time"] == 42.0 and abs(pong["now"] - state.clock()) < 60

    async def ask_ping(socket: aiohttp.ClientWebSocketResponse) -> dict[str, object]:
        await socket.send_str(json.dumps({"type": "ping", "time": 42}))
        return await until(socket, lambda body: body["type"] == "pong")

    go(work())


def test_a_slow_page_gets_the_latest_picture_never_a_queue(
    server: SteeringServer, state: PageState
) -> None:
    """Old frames in a buffer are how a remote view lags by minutes (anchors D6, rosbridge)."""

    async def work() -> None:
        async with page(server) as socket:
            await until(socket, lambda body: body["type"] == "status")
            seen: list[tuple[int, float]] = []

            async def pictures() -> None:
                while True:
                    message = await socket.receive()
                    if message.type is aiohttp.WSMsgType.BINARY:
                        _, number, stamp, _ = protocol.unpack_picture(message.data)
                        seen.append((number, stamp))

            reader = asyncio.create_task(pictures())
            for index in range(60):
                state.put_image(Stream.EXTERNAL, picture(index), float(index))
                await asyncio.sleep(0.005)
            await wait_for(lambda: len(seen) == IN_FLIGHT)
            await asyncio.sleep(0.2)
            assert len(seen) == IN_FLIGHT  # no receipt, no third picture
            await socket.send_bytes(protocol.pack_seen(Stream.EXTERNAL, seen[-1][0]))
            await wait_for(lambda: len(seen) == IN_FLIGHT + 1)
            assert seen[-1][1] == 59.0  # everything between was skipped
            reader.cancel()

    go(work())


def test_a_picture_is_encoded_once_for_all_and_not_at_all_for_nobody(state: PageState) -> None:
    """JPEG work without a viewer, or once a viewer, would take the robot's own cores."""
    state.put_image(Stream.EXTERNAL, picture(1), 0.0)
    shown = state.picture(Stream.EXTERNAL)
    assert shown is not None and shown._jpeg is None
    assert shown.jpeg() is shown.jpeg()


def test_pages_that_leave_are_forgotten_and_writers_survive_the_end(
    state: PageState, commands: Recorder
) -> None:
    """ROS callbacks write on while the page closes; they must not get its exceptions."""
    server = SteeringServer(state, commands, port=0).start()

    async def work() -> None:
        async with page(server) as socket:
            await until(socket, lambda body: body["type"] == "hello")
            assert server.clients == 1
        await wait_for(lambda: server.clients == 0)

    go(work())
    server.close()
    server.close()
    state.put_image(Stream.EXTERNAL, picture(2), 1.0)
    state.set_policy(PolicyStatus("fault"))
    assert state.snapshot().status["policy"] is not None
