"""Over the wire: drawn paths are checked against pictures that were sent; one page drives."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from web_helpers import Recorder, ask, go, page, until

from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.web.page import PageState, Stream
from molmoact_ros.web.requests import COMMANDS, MalformedError, parse_request
from molmoact_ros.web.seat import IDLE_S, Seat
from molmoact_ros.web.server import SteeringServer

POINTS = [[10.0, 20.0], [120.5, 90.25], [200.0, 240.0]]
Socket = aiohttp.ClientWebSocketResponse


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> PageState:
    state = PageState(clock=clock)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    state.put_image(Stream.EXTERNAL, noise, 999.9)
    return state


@pytest.fixture
def commands() -> Recorder:
    return Recorder()


@pytest.fixture
def server(state: PageState, commands: Recorder) -> Iterator[SteeringServer]:
    with SteeringServer(state, commands, port=0) as running:
        yield running


async def picture(socket: Socket, stream: Stream) -> tuple[int, float, bytes]:
    """Number, stamp and data of the next picture of a stream."""
    while True:
        message = await socket.receive(timeout=10.0)
        if message.type is aiohttp.WSMsgType.BINARY and message.data[0] == stream:
            _, _, _, number, stamp = struct.unpack_from("<BBHId", message.data)
            return number, stamp, message.data[16:]


async def frozen(socket: Socket) -> int:
    number, _, _ = await picture(socket, Stream.EXTERNAL)
    assert (await ask(socket, type="freeze", frame=number))["type"] == "answer"
    return number


def test_a_path_reaches_the_robot_with_the_stamp_and_size_of_its_picture(
    server: SteeringServer, commands: Recorder
) -> None:
    """The page says which picture, never when it was taken: a stamp could be made up."""

    async def work() -> None:
        async with page(server) as socket:
            number = await frozen(socket)
            answer = await ask(
                socket, type="steer", frame=number, points=POINTS, until_cleared=True, stamp=5e9
            )
            assert answer["type"] == "answer", answer

    go(work())
    (drawn,) = commands.drawn
    assert np.array_equal(drawn.points, POINTS)
    assert (drawn.stamp, drawn.width, drawn.height, drawn.until_cleared) == (999.9, 320, 240, True)


def test_the_preview_is_the_picture_as_drawn_in_training(
    server: SteeringServer, state: PageState
) -> None:
    """Pixel for pixel: an operator who sees another line than the model steers blindly."""

    async def work() -> None:
        async with page(server) as socket:
            number = await frozen(socket)
            await socket.send_str(
                json.dumps({"type": "preview", "frame": number, "points": POINTS})
            )
            shown, stamp, png = await picture(socket, Stream.PREVIEW)
            assert (shown, stamp) == (number, 999.9)
            seen = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), 1), cv2.COLOR_BGR2RGB)
            sent = state.picture(Stream.EXTERNAL)
            assert sent is not None
            assert np.array_equal(seen, draw_trace(sent.rgb, np.array(POINTS, np.float32)))
            assert not np.array_equal(seen, sent.rgb)

    go(work())


def test_paths_on_other_or_old_pictures_are_refused(
    server: SteeringServer, commands: Recorder, clock: Clock
) -> None:
    async def work() -> None:
        async with page(server) as socket:
            number = await frozen(socket)
            other = await ask(socket, type="steer", frame=number + 7, points=POINTS)
            assert "another picture" in other["message"]
            gone = await ask(socket, type="freeze", frame=number + 7)
            assert "newer one" in gone["message"]
            clock.now += 31.0
            old = await ask(socket, type="steer", frame=number, points=POINTS)
            assert old["type"] == "error" and "31 s old" in old["message"]

    go(work())
    assert commands.drawn == []


def test_the_picture_on_the_screen_can_always_be_drawn_on(
    server: SteeringServer, state: PageState, clock: Clock
) -> None:
    """A slow page shows a picture that the server has long overtaken: it must still count."""

    async def work() -> None:
        async with page(server) as socket:
            number, _, _ = await picture(socket, Stream.EXTERNAL)
            for _ in range(40):
                state.put_image(Stream.EXTERNAL, np.zeros((240, 320, 3), np.uint8), clock.now)
                await asyncio.sleep(0.005)
            assert (await ask(socket, type="freeze", frame=number))["type"] == "answer"

    go(work())


def test_the_second_page_watches_until_the_first_hands_over(
    server: SteeringServer, commands: Recorder
) -> None:
    """Two people on one arm is one too many; STOP belongs to everybody."""

    async def work() -> None:
        async with page(server) as first:
            role = await until(first, lambda body: body["type"] == "role")
            assert role["driving"] is True
            async with page(server) as second:
                role = await until(second, lambda body: body["type"] == "role")
                assert role["driving"] is False and role["driver"] == "this computer"
                number = await frozen(second)
                for request in moving_requests(number):
                    answer = await ask(second, **request)
                    assert answer["type"] == "error" and "watching" in answer["message"], request
                assert commands.calls == []
                assert (await ask(second, type="stop"))["type"] == "answer"
                assert (await ask(first, type="reset"))["type"] == "answer"
                refused = await ask(second, type="drive")
                assert refused["type"] == "error" and "hand over" in refused["message"]
                assert (await ask(first, type="drive", want=False))["type"] == "answer"
                assert (await ask(second, type="drive"))["type"] == "answer"
                assert (await ask(second, type="reset"))["type"] == "answer"
                assert "watching" in (await ask(first, type="reset"))["message"]

    go(work())
    assert commands.calls == [("stop",), ("reset",), ("reset",)]


def moving_requests(frame: int) -> list[dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = {
        "start": {"instruction": "pick up the red cube"},
        "steer": {"frame": frame, "points": POINTS},
        "review": {"plan": 1, "choice": "approve"},
        "record": {"choice": "start"},
        "hand": {"choice": "policy"},
        "train": {"choice": "start"},
        "jog": {"axes": [0.0] * 6, "buttons": [True, False, False, False]},
    }
    free = {"stop", "ping", "drive", "preview", "freeze"}
    return [{"type": kind, **fields.get(kind, {})} for kind in COMMANDS if kind not in free]


def test_a_driver_that_leaves_or_sleeps_blocks_nobody() -> None:
    clock = Clock()
    seat, first, second = Seat(clock), object(), object()
    seat.enter(first, "here")
    seat.enter(second, "there")
    assert seat.holds(first) and not seat.may(first, "start")
    assert "hand over" in seat.take(second, "there")
    clock.now += IDLE_S + 1.0
    assert seat.take(second, "there") == "" and seat.holds(second)
    seat.leave(first)
    assert seat.holds(second), "a page that only watched must not take the seat with it"
    seat.leave(second)
    assert seat.name == "" and seat.take(first, "here") == ""


@pytest.mark.parametrize(
    "request_body",
    [
        {"type": "steer", "frame": 1, "points": [[0, 0]]},
        {"type": "steer", "frame": 1, "points": [[0, 0], [300, 0]]},
        {"type": "steer", "frame": 1, "points": [[0, 0], ["x", 0]]},
        {"type": "steer", "frame": 1, "points": [[0, 0], [True, 9]]},
        {"type": "steer", "frame": 1, "points": [[0, 0], [1e400, 9]]},
        {"type": "steer", "frame": 1, "points": "1,2"},
        {"type": "steer", "frame": -1, "points": POINTS},
        {"type": "steer", "frame": 1.5, "points": POINTS},
        {"type": "steer", "points": POINTS},
        {"type": "steer", "frame": 1, "points": POINTS, "until_cleared": 1},
        {"type": "review", "plan": 3, "choice": "maybe"},
        {"type": "review", "plan": True, "choice": "approve"},
        {"type": "record", "choice": "format the disk"},
        {"type": "record", "choice": "start", "task": "a\u0007b"},
        {"type": "hand", "choice": ["policy"]},
        {"type": "train", "choice": "/data"},
        {"type": "drive", "want": "yes"},
        {"type": "freeze"},
    ],
)
def test_damaged_requests_end_before_the_robot(request_body: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_request(json.dumps(request_body))
