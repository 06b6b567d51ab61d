"""The robot's end of the wire: a connection that is kept up in the background.

One thread of its own runs an event loop, so that neither a dead network nor a full buffer can
block the caller: whoever asks waits on a queue, for as long as he likes and no longer.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from molmoact_ros.policy.startup_checks import (
    ModelDescription,
    RobotDescription,
    in_one_sentence,
    startup_refusals,
)
from molmoact_ros.policy.wire import answers, handshake
from molmoact_ros.policy.wire.codec import DEFAULT_LIMITS, WireError, pack, unpack

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 5.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.25, 5.0
PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 10.0
START = "run `molmoact serve` there and check the address"


class Unfit(RuntimeError):
    """The server is there but must not be used; the sentence says why."""


class Occupied(Unfit):
    """Another robot is served; that may change."""


@dataclass(frozen=True)
class Lost:
    """The connection broke, or brought something unreadable, while an answer was awaited."""

    message: str


@dataclass(frozen=True)
class LinkState:
    """model: who answers, or None without a connection. problem: why there is none.

    session: counts connections; a new one knows nothing of the last. unfit: the server is there
    and the problem is that it must not be used.
    """

    model: ModelDescription | None
    problem: str
    session: int
    unfit: bool = False


class Link:
    """Connects, shakes hands, reconnects. Thread-safe; one request at a time."""

    def __init__(self, url: str, token: str, robot: RobotDescription) -> None:
        self._url, self._robot = url, robot
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._changed = threading.Condition()
        self._state = LinkState(None, f"not connected to the policy server {url} yet", 0)
        self._socket: ClientConnection | None = None
        self._inbox: queue.SimpleQueue[answers.Answer | Lost] = queue.SimpleQueue()
        self._awaited = answers.NO_ID
        self._sending: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="policy-link", daemon=True)
        self._thread.start()

    @property
    def state(self) -> LinkState:
        with self._changed:
            return self._state

    def wait(self, seconds: float) -> LinkState:
        """The state as soon as there is a connection, or after ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.model is not None, max(0.0, seconds))
            return self._state

    def ask(self, number: int, message: dict[str, Any], session: int) -> None:
        """Send request ``number``; only its answers are kept from now on. Raises WireError."""
        data = pack(message)
        if len(data) > DEFAULT_LIMITS.message_bytes:
            raise WireError(
                f"the pictures take {len(data)} bytes, the limit is "
                f"{DEFAULT_LIMITS.message_bytes}; use JPEG or smaller pictures"
            )
        with self._changed:
            self._awaited, self._inbox = number, queue.SimpleQueue()
            if self._state.model is None or self._state.session != session:
                self._inbox.put(Lost(self._state.problem or "the connection is a new one"))
                return
            self._loop.call_soon_threadsafe(self._send, data)

    def receive(self, seconds: float) -> answers.Answer | Lost | None:
        """The next answer to the request asked last, or None after ``seconds``."""
        try:
            return self._inbox.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def forget(self, message: dict[str, Any]) -> None:
        """Throw away what still comes for the last request, and send ``message`` (its cancel)."""
        with self._changed:
            self._awaited = answers.NO_ID
            if self._state.model is not None:
                self._loop.call_soon_threadsafe(self._send, pack(message))

    def close(self) -> None:
        """End the connection and its thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._keep_connected())
        finally:
            with self._changed:
                # From here on nothing may be scheduled on the loop.
                self._socket = None
            self._loop.close()

    async def _keep_connected(self) -> None:
        connecting = asyncio.create_task(self._reconnect())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in (connecting, stopped):
            task.cancel()
        await asyncio.gather(connecting, stopped, return_exceptions=True)
        self._down("the connection to the policy server was closed here")

    async def _reconnect(self) -> None:
        delay = BACKOFF_FIRST_S
        while True:
            began, unfit = time.monotonic(), False
            try:
                await self._session()
                problem = f"the policy server {self._url} ended the connection; {START}"
            except Unfit as error:
                problem, unfit = str(error), not isinstance(error, Occupied)
            except (OSError, asyncio.TimeoutError, WebSocketException, WireError) as error:
                problem = self._words(error)
            except Exception as error:  # a bug here must show up as words, not as silence
                log.exception("the policy link failed")
                problem = f"the policy link failed with {type(error).__name__}; see the log"
            self._down(problem, unfit)
            if time.monotonic() - began > BACKOFF_MAX_S:
                delay = BACKOFF_FIRST_S
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            delay = min(2 * delay, BACKOFF_MAX_S)

    async def _session(self) -> None:
        async with connect(
            self._url,
            additional_headers=self._headers,
            compression=None,
            proxy=None,
            open_timeout=HANDSHAKE_TIMEOUT_S,
            close_timeout=1.0,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_size=DEFAULT_LIMITS.message_bytes,
        ) as socket:
            model = await asyncio.wait_for(self._shake_hands(socket), HANDSHAKE_TIMEOUT_S)
            with self._changed:
                self._socket = socket
                self._state = LinkState(model, "", self._state.session + 1)
                self._changed.notify_all()
            async for data in socket:
                self._dispatch(data, model)

    async def _shake_hands(self, socket: ClientConnection) -> ModelDescription:
        first = unpack(await socket.recv())
        if first.get("type") == "error":
            raise Occupied(f"the policy server {self._url} refuses: {first.get('message')}"[:1000])
        model = handshake.read_hello(first)
        refusals = startup_refusals(self._robot, model)
        if refusals:
            raise Unfit(f"the policy server does not fit: {in_one_sentence(refusals)}")
        await socket.send(pack(handshake.expect(self._robot)))
        verdict = answers.read_answer(unpack(await socket.recv()), model)
        if isinstance(verdict, answers.Complaint):
            raise Unfit(f"the policy server refuses: {verdict.message}")
        if not isinstance(verdict, answers.Ready):
            raise Unfit(f"the policy server sent {type(verdict).__name__} instead of ready")
        return model

    def _dispatch(self, data: bytes | str, model: ModelDescription) -> None:
        answer: answers.Answer | Lost
        try:
            answer = answers.read_answer(unpack(data), model)
        except WireError as error:
            answer = Lost(f"the policy server's answer is damaged: {error}")
        with self._changed:
            number = getattr(answer, "id", self._awaited)
            if self._awaited != answers.NO_ID and number in (self._awaited, answers.NO_ID):
                self._inbox.put(answer)

    def _send(self, data: bytes) -> None:
        task = self._loop.create_task(self._send_now(data))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_now(self, data: bytes) -> None:
        if self._socket is not None:
            try:
                await self._socket.send(data)
            except ConnectionClosed as closed:
                log.debug("not sent: %s", closed)  # the reader says so to whoever waits

    def _down(self, problem: str, unfit: bool = False) -> None:
        with self._changed:
            if problem != self._state.problem:
                log.warning("%s", problem)
            self._socket = None
            self._state = LinkState(None, problem, self._state.session, unfit)
            if self._awaited != answers.NO_ID:
                self._inbox.put(Lost(problem))
            self._changed.notify_all()

    def _words(self, error: Exception) -> str:
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            if status == 401:
                return f"the policy server {self._url} refused the token; set the server's token"
            return f"the policy server {self._url} answered HTTP {status}; {START}"
        if isinstance(error, WireError):
            return f"{self._url} does not speak our protocol: {error}"
        detail = str(error) or type(error).__name__
        return f"no connection to the policy server {self._url} ({detail}); {START}"
