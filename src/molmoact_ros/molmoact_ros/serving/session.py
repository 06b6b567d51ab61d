"""One robot's conversation in our own protocol.

The robot may say anything at any time: what is not understood or comes too early is answered with
an ``error`` and the conversation goes on. Ends only when the connection does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

from molmoact_ros.policy.base import PolicyError, Segment
from molmoact_ros.policy.startup_checks import (
    ModelDescription,
    in_one_sentence,
    startup_refusals,
)
from molmoact_ros.policy.wire import answers, handshake
from molmoact_ros.policy.wire.codec import WireError, pack, unpack
from molmoact_ros.policy.wire.requests import Cancel, Request, Reset, Think, read_request
from molmoact_ros.reasoning.thought import ThoughtRefused
from molmoact_ros.serving.worker import PolicyWorker

log = logging.getLogger(__name__)

MAX_QUEUED = 4
"""Requests that wait for a canceled one to end; each may hold pictures."""
HANDSHAKE_TIMEOUT_S = 10.0
"""A connection that never says what it expects must not keep the robot out."""


class Socket(Protocol):
    """What a session needs of a websocket connection."""

    def __aiter__(self) -> AsyncIterator[bytes | str]: ...
    async def recv(self) -> bytes | str: ...
    async def send(self, message: bytes) -> None: ...


class Job:
    """A request under way, and the switch that stops it."""

    def __init__(self, request: Reset | Think) -> None:
        self.request = request
        self.canceled = threading.Event()


class Session:
    """Serves one connection until it closes."""

    def __init__(self, socket: Socket, worker: PolicyWorker, model: ModelDescription) -> None:
        self._socket, self._worker, self._model = socket, worker, model
        self._last_id = answers.NO_ID
        self._started = False
        self._jobs: deque[Job] = deque()
        self._wake = asyncio.Event()

    async def serve(self) -> None:
        """Shake hands, then answer. Raises the socket's own errors only."""
        await self._socket.send(pack(handshake.hello(self._model)))
        try:
            await asyncio.wait_for(self._shake_hands(), HANDSHAKE_TIMEOUT_S)
        except asyncio.TimeoutError:
            await self._complain(
                f"no valid expect message came within {HANDSHAKE_TIMEOUT_S:g} s; connect again"
            )
            return
        working = asyncio.create_task(self._work())
        try:
            async for data in self._socket:
                await self._hear(data)
        finally:
            for job in self._jobs:
                job.canceled.set()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _shake_hands(self) -> None:
        while True:
            try:
                robot = handshake.read_expect(unpack(await self._socket.recv()))
            except WireError as error:
                await self._complain(str(error))
                continue
            refusals = startup_refusals(robot, self._model)
            if not refusals:
                await self._answer(answers.Ready())
                return
            await self._complain(in_one_sentence(refusals))

    async def _hear(self, data: bytes | str) -> None:
        number = answers.NO_ID
        try:
            message = unpack(data)
            if type(message.get("id")) is int and 0 <= message["id"] < 2**53:
                number = message["id"]
            self._accept(read_request(message, self._model))
        except WireError as error:
            await self._complain(str(error), number)

    def _accept(self, request: Request) -> None:
        if isinstance(request, Cancel):
            for job in self._jobs:
                if job.request.id == request.id:
                    job.canceled.set()
            return  # a cancel that comes too late is no mistake
        if request.id <= self._last_id:
            raise WireError(f"id {request.id} is not above {self._last_id}; count upwards")
        if not all(job.canceled.is_set() for job in self._jobs):
            raise WireError("the last request is still being answered; wait for it or cancel it")
        if len(self._jobs) >= MAX_QUEUED:
            raise WireError("too many canceled requests have not ended yet; wait for their answers")
        if isinstance(request, Think) and not self._started:
            raise WireError("think came before reset; send reset with the instruction first")
        self._started = True
        self._last_id = request.id
        self._jobs.append(Job(request))
        self._wake.set()

    async def _work(self) -> None:
        while True:
            while self._jobs:
                answer = await self._carry_out(self._jobs[0])
                # Removed before the answer goes out: the robot may ask again as it arrives.
                self._jobs.popleft()
                await self._answer(answer)
            self._wake.clear()
            await self._wake.wait()

    async def _carry_out(self, job: Job) -> answers.Answer:
        request = job.request
        try:
            if isinstance(request, Reset):
                if job.canceled.is_set():
                    raise ThoughtRefused("the reset was canceled before it began; ask again")
                await self._worker.reset(request.instruction)
                return answers.ResetDone(request.id)
            return await self._think(request, job.canceled)
        except ThoughtRefused as refusal:
            return answers.Refused(request.id, refusal)
        except PolicyError as error:
            return answers.Failed(request.id, str(error))

    async def _think(self, request: Think, canceled: threading.Event) -> answers.Answer:
        segments: asyncio.Queue[Segment | None] = asyncio.Queue()
        sending = asyncio.create_task(self._stream(request.id, segments))
        try:
            thought = await self._worker.think(request.observation, canceled, segments.put_nowait)
            segments.put_nowait(None)
            await sending
        finally:
            sending.cancel()
        return answers.Thinking(request.id, thought)

    async def _stream(self, number: int, segments: asyncio.Queue[Segment | None]) -> None:
        while (segment := await segments.get()) is not None:
            await self._answer(answers.Part(number, segment))

    async def _complain(self, message: str, number: int = answers.NO_ID) -> None:
        log.debug("a message was refused: %s", message)
        await self._answer(answers.Complaint(number, message))

    async def _answer(self, answer: answers.Answer) -> None:
        try:
            data = pack(answers.answer_to_wire(answer))
        except WireError as error:
            log.error("the policy's answer cannot be sent: %s", error)
            if isinstance(answer, answers.Part):
                return  # for watching only; the whole thought says what is wrong
            # A policy that answers nonsense must not leave its robot waiting.
            number = getattr(answer, "id", answers.NO_ID)
            data = pack(answers.answer_to_wire(answers.Failed(number, str(error))))
        await self._socket.send(data)
