"""A policy that thinks on another machine: the client of ``molmoact serve``.

Whatever goes wrong on the way ends in PolicyError within ``timeout``, so the arm holds. The
connection comes back by itself; the next goal simply works again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from molmoact_ros.access import is_loopback
from molmoact_ros.policy.base import Observation, PolicyError, Segment
from molmoact_ros.policy.startup_checks import ModelDescription, RobotDescription
from molmoact_ros.policy.wire.answers import Answer, Failed, Part, Refused, ResetDone, Thinking
from molmoact_ros.policy.wire.codec import WireError
from molmoact_ros.policy.wire.link import Link, LinkState, Lost
from molmoact_ros.policy.wire.requests import Cancel, Request, Reset, Think, request_to_wire
from molmoact_ros.reasoning.prompts import BadInstruction, check_instruction
from molmoact_ros.reasoning.thought import Thought, ThoughtRefused

POLL_S = 0.02
"""Seconds; how soon a cancel is noticed while a connection or an answer is awaited."""
CANCELED = "the goal was canceled; start a new goal to think again"


class RemotePolicy:
    """Policy and StreamingPolicy over a websocket.

    url: ws://host:port of the server. token: its secret, or "". robot: what must fit, see
    startup_checks. timeout: seconds for one thought, the way there and back included.
    connect_timeout: seconds that a goal waits for a connection before it fails. jpeg: send JPEG
    instead of raw pictures; None: raw on this machine, JPEG over a network. Connects in the
    background; raises PolicyError only for an address that can never work.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        robot: RobotDescription | None = None,
        *,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        jpeg: bool | None = None,
    ) -> None:
        host = _host(url)
        if timeout <= 0 or connect_timeout < 0:
            raise PolicyError(f"timeout {timeout} and {connect_timeout}: use positive seconds")
        self._url = url
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._jpeg = not is_loopback(host) if jpeg is None else jpeg
        self._number = 0
        self._instruction = ""
        self._session = 0
        self._link = Link(url, token, robot or RobotDescription())

    @property
    def description(self) -> str:
        """The server's model, revision and origin of weights, or why there is no connection."""
        state = self._link.state
        if state.model is None:
            return f"remote policy {self._url}: {state.problem}"
        return f"{describe(state.model)}, at {self._url}"

    @property
    def needs_geometry(self) -> bool:
        """Pictures and words only."""
        return False

    @property
    def codebook(self) -> str:
        """What the server said; empty without a connection."""
        model = self.model
        return model.codebook if model is not None else ""

    @property
    def model(self) -> ModelDescription | None:
        """What the server said it is; None without a connection."""
        return self._link.state.model

    @property
    def unfit(self) -> str:
        """Why the server must not be used by this robot, in one sentence; empty otherwise."""
        state = self._link.state
        return state.problem if state.unfit else ""

    def wait_connected(self, seconds: float) -> bool:
        """Whether there is a connection, at latest after ``seconds``; False as soon as the server
        is known not to fit.
        """
        deadline = time.monotonic() + seconds
        while (state := self._link.wait(min(POLL_S, deadline - time.monotonic()))).model is None:
            if state.unfit or time.monotonic() >= deadline:
                return False
        return True

    def reset(self, instruction: str) -> None:
        """Start a goal on the server. Raises PolicyError."""
        try:
            self._instruction = check_instruction(instruction)
        except BadInstruction as error:
            raise PolicyError(str(error)) from None
        deadline = time.monotonic() + self._timeout
        self._reset(self._connected(deadline, _never), deadline, _never)

    def think(self, observation: Observation, canceled: Callable[[], bool]) -> Thought:
        """One thought. Raises ThoughtRefused (bad answer, canceled) or PolicyError."""
        return self.think_streaming(observation, canceled, lambda segment: None)

    def think_streaming(
        self,
        observation: Observation,
        canceled: Callable[[], bool],
        on_segment: Callable[[Segment], None],
    ) -> Thought:
        """As ``think``; parts of the thought are handed to ``on_segment`` as they arrive."""
        began = time.monotonic()
        deadline = began + self._timeout
        state = self._connected(deadline, canceled)
        if state.session != self._session:
            # The server of a new connection has not heard of this goal.
            self._instruction = self._instruction or observation.instruction
            self._reset(state, deadline, canceled)
        answer = self._ask(Think(self._next(), observation), state, deadline, canceled, on_segment)
        if isinstance(answer, Refused):
            raise answer.refusal
        if not isinstance(answer, Thinking):
            raise PolicyError(_complaint(answer))
        thought, total = answer.thought, time.monotonic() - began
        timings = {**thought.timings, "network": total - thought.timings.get("server", total)}
        return dataclasses.replace(thought, timings={**timings, "total": total})

    def close(self) -> None:
        """End the connection; the policy cannot be used afterwards."""
        self._link.close()

    def _connected(self, deadline: float, canceled: Callable[[], bool]) -> LinkState:
        deadline = min(deadline, time.monotonic() + self._connect_timeout)
        while (state := self._link.wait(min(POLL_S, deadline - time.monotonic()))).model is None:
            if canceled():
                raise ThoughtRefused(CANCELED)
            if time.monotonic() >= deadline:
                raise PolicyError(state.problem)
        return state

    def _reset(self, state: LinkState, deadline: float, canceled: Callable[[], bool]) -> None:
        request = Reset(self._next(), self._instruction)
        answer = self._ask(request, state, deadline, canceled, lambda segment: None)
        if not isinstance(answer, ResetDone):
            raise PolicyError(_complaint(answer))
        self._session = state.session

    def _ask(
        self,
        request: Request,
        state: LinkState,
        deadline: float,
        canceled: Callable[[], bool],
        on_segment: Callable[[Segment], None],
    ) -> Answer:
        try:
            self._link.ask(request.id, request_to_wire(request, self._jpeg), state.session)
        except WireError as error:
            raise PolicyError(f"the observation cannot be sent: {error}") from error
        while True:
            left = deadline - time.monotonic()
            answer = self._link.receive(min(POLL_S, left))
            if isinstance(answer, Lost):
                raise PolicyError(f"{answer.message}; it was asked and did not answer")
            if canceled() or (answer is None and left <= 0):
                self._link.forget(request_to_wire(Cancel(request.id)))
                if canceled():
                    raise ThoughtRefused(CANCELED)
                raise PolicyError(
                    f"the policy server {self._url} did not answer within {self._timeout:g} s; "
                    "check its load and the network, or raise the timeout"
                )
            if isinstance(answer, Part):
                on_segment(answer.segment)
            elif answer is not None:
                return answer

    def _next(self) -> int:
        self._number += 1
        return self._number


def describe(model: ModelDescription) -> str:
    """A model in one line for a person, the origin of its weights included."""
    return f"{model.name} ({model.revision}), weights: {model.origin}"


def _never() -> bool:
    return False


def _complaint(answer: Answer) -> str:
    if isinstance(answer, Failed):
        return answer.message
    words = getattr(answer, "message", f"{type(answer).__name__} came out of order")
    return f"the policy server refused the request: {words}"


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        port_ok, parts = False, urlsplit("")
    if not port_ok or parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise PolicyError(f"{url!r} is no policy server; give ws://host:port")
    return parts.hostname
