"""A recording PageCommands and small aiohttp clients for the tests of the page."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from molmoact_ros.web.page import Drawn, PageError
from molmoact_ros.web.server import SteeringServer


class Recorder:
    """PageCommands that notes calls; ``gate`` holds everything but STOP while it is clear."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.drawn: list[Drawn] = []
        self.jogs: list[tuple[tuple[float, ...], tuple[bool, ...]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.stopped = threading.Event()

    def _note(self, *call: str) -> str:
        self.calls.append(call)
        self.entered.set()
        self.gate.wait(5.0)
        return f"{call[0]} done"

    def start(self, instruction: str, mode: str) -> str:
        if instruction == "refuse":
            raise PageError("this cannot be done; say something else")
        if instruction == "crash":
            raise KeyError("a bug")
        return self._note("start", instruction, mode)

    def stop(self) -> str:
        self.calls.append(("stop",))
        self.stopped.set()
        return "stop done"

    def reset(self) -> str:
        return self._note("reset")

    def home(self) -> str:
        return self._note("home")

    def new_scene(self) -> str:
        return self._note("new_scene")

    def steer(self, drawn: Drawn) -> str:
        self.drawn.append(drawn)
        return self._note("steer")

    def clear(self) -> str:
        return self._note("clear")

    def review(self, plan: int, choice: str) -> str:
        return self._note("review", str(plan), choice)

    def record(self, choice: str, task: str) -> str:
        return self._note("record", choice, task)

    def hand(self, choice: str) -> str:
        return self._note("hand", choice)

    def train(self, choice: str) -> str:
        return self._note("train", choice)

    def jog(self, axes: Sequence[float], buttons: Sequence[bool]) -> None:
        self.jogs.append((tuple(axes), tuple(buttons)))


def base(server: SteeringServer) -> str:
    """The server's address without a token."""
    return f"http://{urlsplit(server.url).netloc}"


@asynccontextmanager
async def page(
    server: SteeringServer, **options: Any
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An open WebSocket like the page's own."""
    options.setdefault("headers", {"Origin": base(server)})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(base(server) + "/ws", **options) as socket,
    ):
        yield socket


async def until(
    socket: aiohttp.ClientWebSocketResponse, wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The next JSON message that ``wanted`` accepts; pictures are skipped. Fails after 10 s."""
    while True:
        message = await socket.receive(timeout=10.0)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.TEXT:
            body: dict[str, Any] = json.loads(message.data)
            if wanted(body):
                return body


async def wait_for(true: Callable[[], bool]) -> None:
    """Until ``true()``; fails after 10 s."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited 10 s for something that did not happen")


async def ask(socket: aiohttp.ClientWebSocketResponse, **request: Any) -> dict[str, Any]:
    """Send a request with id 1 and return its answer."""
    await socket.send_str(json.dumps({"id": 1, **request}))
    return await until(socket, lambda body: body.get("id") == 1)


def go(work: Awaitable[None]) -> None:
    """Run one coroutine to its end."""

    async def whole() -> None:
        await work

    asyncio.run(whole())
