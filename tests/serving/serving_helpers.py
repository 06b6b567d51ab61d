"""A fake policy, a policy server in a thread, and a raw client for the tests of serving."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from molmoact_ros.policy.base import Observation, PolicyError, Segment
from molmoact_ros.policy.startup_checks import ModelDescription, RobotDescription
from molmoact_ros.policy.wire.codec import pack, unpack
from molmoact_ros.policy.wire.handshake import expect
from molmoact_ros.policy.wire.requests import Think, request_to_wire
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused
from molmoact_ros.serving.server import PolicyServer

MODEL = ModelDescription("fake", "r1", "RANDOM, a test", "fr3")
ROBOT = RobotDescription()


def a_thought(seed: float = 0.0) -> Thought:
    return Thought(
        text=f"thought {seed}",
        depth=np.arange(100, dtype=np.uint8).reshape(10, 10),
        trace=np.array([[10, 20], [30, 40]], np.float32),
        actions=np.full((8, 7), seed, np.float64),
        timings={"total": 0.5},
    )


def observation(red: int = 0, *, height: int = 24, images: int = 2, **more: Any) -> Observation:
    picture = np.full((height, 32, 3), red, np.uint8)
    return Observation(1.7e9, (picture,) * images, "pick up the cube", **more)


class FakePolicy:
    """Answers the first picture's first byte; the instruction chooses what goes wrong."""

    description, needs_geometry = "a fake", False
    codebook = ""

    def __init__(self) -> None:
        self.resets: list[str] = []
        self.seen: list[Observation] = []
        self.threads: set[str] = set()
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Event()
        self.canceled = 0
        self.deaf = False

    def reset(self, instruction: str) -> None:
        self.resets.append(instruction)
        self.threads.add(threading.current_thread().name)
        if "impossible" in instruction:
            raise PolicyError("this policy cannot do that; ask for something else")

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        self.threads.add(threading.current_thread().name)
        self.seen.append(observation)
        self.entered.set()
        while not self.hold.wait(0.005):
            if canceled() and not self.deaf:
                self.canceled += 1
                raise ThoughtRefused("the goal was canceled while thinking", "half an ans")
        if "nonsense" in observation.instruction:
            raise ThoughtRefused("the rows are cut", "the text")
        if "crash" in observation.instruction:
            raise KeyError("a bug")
        if "misshapen" in observation.instruction:
            return Thought("", None, np.zeros((0, 2), np.float32), np.full((2, 7), np.nan))
        if "complex" in observation.instruction:
            return Thought("", np.zeros((2, 2), complex), np.zeros((0, 2)), np.zeros((8, 7)))
        return a_thought(float(observation.images[0].flat[0]))


class StreamingFake(FakePolicy):
    """Hands out its depth, then waits for ``hold``, then the rest."""

    def think_streaming(
        self,
        observation: Observation,
        canceled: Callable[[], bool],
        on_segment: Callable[[Segment], None],
    ) -> Thought:
        thought = a_thought()
        on_segment(Segment("depth", 0, thought.depth))
        return self.think(observation, canceled)


class Running:
    """A server in a thread of its own."""

    def __init__(self, policy: Any, model: ModelDescription, port: int, token: str) -> None:
        self.policy, self.server = policy, PolicyServer(policy, model, port=port, token=token)
        self.port = 0
        self._up, self._loop = threading.Event(), asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._up.wait(10.0)

    def _run(self) -> None:
        async def main() -> None:
            async with self.server.listen() as self.port:
                self._up.set()
                await self._stop.wait()

        self._loop.run_until_complete(main())
        self._loop.close()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10.0)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def running(
    policy: Any = None, model: ModelDescription = MODEL, port: int = 0, token: str = ""
) -> Iterator[Running]:
    server = Running(policy or FakePolicy(), model, port, token)
    try:
        yield server
    finally:
        server.policy.hold.set()
        server.stop()


class Raw:
    """Says anything to a server, in our protocol or not."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, message: dict[str, Any]) -> None:
        self.socket.send(pack(message))

    def hear(self, timeout: float = 10.0) -> dict[str, Any]:
        return unpack(self.socket.recv(timeout))

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.send(message)
        return self.hear()

    def think(self, number: int, seen: Observation | None = None) -> None:
        self.send(request_to_wire(Think(number, seen or observation())))

    def answer(self) -> dict[str, Any]:
        """The next message that is no segment."""
        while (message := self.hear())["type"] == "segment":
            pass
        return message


@contextlib.contextmanager
def raw(url: str, *, shaken: bool = True, token: str = "") -> Iterator[Raw]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with connect(url, additional_headers=headers, proxy=None, compression=None) as socket:
        client = Raw(socket)
        if shaken:
            assert client.hear()["type"] == "hello"
            assert client.ask(expect(ROBOT)) == {"type": "ready"}
        yield client


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
