"""One open page: sends it the latest, reads what it asks for.

At most two pictures of a stream are on their way at a time; the page confirms each when
it is on the screen. A slow page or network then gets fewer, never older, pictures:
without receipts, megabytes of old frames would sit in socket buffers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine

from aiohttp import WSMsgType, web

from molmoact_ros.web import protocol
from molmoact_ros.web.easel import Easel
from molmoact_ros.web.page import Drawn, PageError, PageState
from molmoact_ros.web.picture import LIVE, Stream
from molmoact_ros.web.requests import MalformedError, Request, parse_request
from molmoact_ros.web.seat import Seat
from molmoact_ros.web.security import TokenBucket

log = logging.getLogger(__name__)

IN_FLIGHT = 2
STATUS_PERIOD_S = 0.1  # the commander reports at 50 Hz; nobody reads that fast
REQUEST_RATE, REQUEST_BURST = 20.0, 40.0
ERROR_REPLIES_RATE = 10.0
JOG_RATE = 40.0

# Raises PageError with words for the operator.
Run = Callable[[Request, "Drawn | None"], Awaitable[str]]
Jog = Callable[[Request], None]


class Client:
    """Serves one WebSocket until it closes. ``run`` carries out a command and returns its answer,
    ``jog`` passes on a hand's motion at once.

    seat: who may command. name: where this page is, in words for the other pages. Raises nothing
    of its own: bad messages get an error reply and the connection lives.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        state: PageState,
        run: Run,
        jog: Jog,
        seat: Seat,
        name: str,
    ) -> None:
        self._socket = socket
        self._state = state
        self._run, self._jog = run, jog
        self._seat, self._name = seat, name
        self._easel = Easel(state)
        self._wanted: Request | None = None
        self._drawing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._in_flight: dict[Stream, deque[int]] = defaultdict(deque)
        self._sent: dict[Stream, int] = {}
        self._requests = TokenBucket(REQUEST_RATE, REQUEST_BURST)
        self._jogs = TokenBucket(JOG_RATE, REQUEST_BURST)
        self._errors = TokenBucket(ERROR_REPLIES_RATE, REQUEST_BURST)
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something changed; called on the event loop."""
        self._changed.set()

    async def close(self) -> None:
        """Tell the page that the server ends."""
        await self._socket.close(code=1001, message=b"the server ends")

    async def serve(self) -> None:
        """Send and receive until either side ends."""
        self._changed.set()
        sides = {asyncio.create_task(self._send()), asyncio.create_task(self._receive())}
        try:
            # A page that hears nothing more would look live: when one side ends, both end.
            ended, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            for side in ended:
                if side.exception() is not None:
                    log.error("a page was closed by an error", exc_info=side.exception())
        finally:
            left = (*sides, *self._running)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _send(self) -> None:
        version, thought, next_status, seat = 0, 0, 0.0, 0
        loop = asyncio.get_running_loop()
        try:
            await self._socket.send_str(
                protocol.event("hello", version=protocol.VERSION, now=self._state.clock())
            )
            while True:
                await self._changed.wait()
                self._changed.clear()
                if seat != self._seat.version:
                    seat = self._seat.version
                    driving, name = self._seat.holds(self), self._seat.name
                    await self._socket.send_str(
                        protocol.event("role", driving=driving, driver=name)
                    )
                snapshot = self._state.snapshot(after_thought=thought)
                if snapshot.version != version:
                    if loop.time() >= next_status:
                        version, next_status = snapshot.version, loop.time() + STATUS_PERIOD_S
                        await self._socket.send_str(protocol.event("status", **snapshot.status))
                    else:
                        loop.call_at(next_status, self._changed.set)
                for number, view in snapshot.thoughts:
                    thought = number
                    await self._socket.send_str(protocol.thought_event(number, view))
                for stream in LIVE:
                    await self._send_picture(stream)
        except (ConnectionError, RuntimeError) as error:
            # aiohttp reports a socket that closed under a write in either way.
            log.debug("page went away: %s", error)
            await self._socket.close()

    async def _send_picture(self, stream: Stream) -> None:
        picture = self._state.picture(stream)
        waiting = self._in_flight[stream]
        if picture is None or picture.number == self._sent.get(stream):
            return
        if len(waiting) >= IN_FLIGHT:
            return  # the receipt wakes us; by then there may be a newer picture
        self._sent[stream] = picture.number
        if stream is Stream.EXTERNAL:
            self._easel.sent(picture)
        waiting.append(picture.number & 0xFFFFFFFF)
        jpeg = await asyncio.to_thread(picture.jpeg)
        await self._socket.send_bytes(protocol.pack_picture(stream, picture, jpeg))

    async def _send_image(self, stream: Stream, number: int, stamp: float, data: bytes) -> None:
        if self._socket.closed:
            return
        try:
            await self._socket.send_bytes(protocol.pack_image(stream, number, stamp, data))
        except (ConnectionError, RuntimeError) as error:
            log.debug("preview not delivered: %s", error)

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                self._text(message.data)
            elif message.type is WSMsgType.BINARY:
                self._seen(message.data)
            else:
                break

    def _seen(self, data: bytes) -> None:
        try:
            stream, number = protocol.unpack_seen(data)
        except MalformedError as error:
            self._reply_error(0, str(error))
            return
        waiting = self._in_flight[stream]
        # A receipt also covers older pictures: the page may have skipped some.
        if number in waiting:
            while waiting and waiting.popleft() != number:
                pass
            self._changed.set()

    def _text(self, text: str) -> None:
        try:
            request = parse_request(text)
        except MalformedError as error:
            self._reply_error(0, str(error))
            return
        if request.kind == "jog":
            self._move(request)
        elif request.kind == "stop" or self._requests.take():
            self._spawn(self._carry_out(request))
        else:
            self._reply_error(request.id, "too many messages; wait a second and try again")

    def _move(self, request: Request) -> None:
        # Above the rate the newest is dropped; a hand that falls silent is a released switch.
        if refused := self._seat.may(self, request.kind):
            self._reply_error(request.id, refused)
        elif self._jogs.take():
            self._jog(request)

    async def _carry_out(self, request: Request) -> None:
        if request.kind == "ping":
            await self._reply("pong", time=request.time, now=self._state.clock())
            return
        try:
            words = await self._answer(request)
        except PageError as error:
            await self._reply("error", id=request.id, message=str(error))
            return
        await self._reply("answer", id=request.id, command=request.kind, message=words)

    async def _answer(self, request: Request) -> str:
        """Words for the page. Raises PageError with why not."""
        if refused := self._seat.may(self, request.kind):
            raise PageError(refused)
        if request.kind == "drive":
            return self._seat.ask(self, self._name, request.want)
        if request.kind == "freeze":
            stamp = self._easel.freeze(request.frame).stamp
            await self._reply("frozen", frame=request.frame, stamp=stamp)
            return "frozen"
        if request.kind == "preview":
            await self._preview(request)
            return "shown"
        drawn = self._easel.drawn(request) if request.kind == "steer" else None
        return await self._run(request, drawn)

    async def _preview(self, request: Request) -> None:
        """Draw the newest line only, one at a time: an older one must never come last."""
        self._wanted = request
        async with self._drawing:
            if self._wanted is not request:
                return
            easel, points = self._easel, request.points
            picture, png = await asyncio.to_thread(easel.preview, request.frame, points)
            await self._send_image(Stream.PREVIEW, picture.number, picture.stamp, png)

    def _reply_error(self, number: int, message: str) -> None:
        # Limited, so that a page gone mad does not make us send as fast as it does.
        if self._errors.take():
            self._spawn(self._reply("error", id=number, message=message))

    async def _reply(self, kind: str, **fields: object) -> None:
        if self._socket.closed:
            return
        try:
            await self._socket.send_str(protocol.event(kind, **fields))
        except (ConnectionError, RuntimeError) as error:
            log.debug("answer not delivered: %s", error)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
