"""Reset, break and question the simulator: small JSON datagrams on loopback.

For tests, the demo and the scorer. The policy and the arm never use it: they see the robot
through libfranka and the cameras alone. One request, one reply, matched by an id; a request
that arrives twice is answered from memory and done once.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import math
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CONTROL_PORT = 5599
_MAX_DATAGRAM = 8192
Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]
FAULTS = ("reflex", "user_stop", "manual", "release", "freeze", "jam")


class SimControlError(RuntimeError):
    """The simulator did not answer or refused; the message says what to do."""


def loopback(host: str) -> str:
    """``host`` if it lies in 127.0.0.0/8. ValueError otherwise: nothing here has a password."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ValueError(
            f"{host!r} is not an IPv4 address; use one of 127.0.0.0/8, for example 127.0.0.1."
        ) from error
    if not address.is_loopback:
        raise ValueError(
            f"{host} is reachable from other machines and this protocol has no password; "
            "use an address of 127.0.0.0/8, for example 127.0.0.1."
        )
    return str(address)


class SimControl:
    """Client. Every call raises SimControlError when there is no simulator or it refuses."""

    def __init__(self, host: str = "127.0.0.1", port: int = CONTROL_PORT, timeout: float = 2.0):
        self._peer = (loopback(host), port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(timeout)
        self._ids = itertools.count(1)
        self._name = f"{os.getpid()}.{id(self)}"

    def reset(self, seed: int, task: str | None = None, home: bool = False) -> int:
        """Lay out the scene of ``seed`` and ``task``; returns the new generation counter.

        ``home`` also puts the arm at its home joints at once, which is refused while a
        motion runs.
        """
        reply = self._ask("reset", seed=seed, task=task, home=home)
        return int(reply["generation"])

    def fault(self, kind: str, ms: int = 0) -> None:
        """reflex, user_stop, manual: as the robot would. jam: the fingers stick. release: end
        all of these. freeze: no network for ``ms`` milliseconds of simulated time."""
        self._ask("fault", kind=kind, ms=ms)

    def push(self, force: Sequence[float], seconds: float = 0.5) -> None:
        """Push the hand with ``force`` [3] N in base axes for ``seconds`` of simulated time."""
        self._ask("push", force=[float(f) for f in force], seconds=float(seconds))

    def stats(self) -> dict[str, Any]:
        """Tick statistics (pacing.TickStats fields) and sim_time, cpu (cores used since the
        previous call), udp_commands, moving, fault, generation, wrench [6], hand_width."""
        return dict(self._ask("stats"))

    def close(self) -> None:
        self._socket.close()

    def _ask(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        request = {"id": f"{self._name}.{next(self._ids)}", "do": operation, **arguments}
        host, port = self._peer
        for _ in range(2):  # a datagram may be dropped when the server's buffer is full
            try:
                self._socket.sendto(json.dumps(request).encode(), self._peer)
                reply = self._reply_to(request["id"])
            except TimeoutError:
                continue
            if "error" in reply:
                raise SimControlError(f"simulator at {host}: {reply['error']}")
            return reply
        raise SimControlError(
            f"no simulator answered at {host}:{port}. Start one: "
            f"python -m molmoact_ros.sim.server --host {host}"
        )

    def _reply_to(self, request_id: object) -> Mapping[str, Any]:
        while True:
            reply = json.loads(self._socket.recv(_MAX_DATAGRAM))
            if reply.get("id") == request_id:
                return dict(reply)


class ControlServer:
    """Server side, polled from the physics loop; never blocks."""

    def __init__(self, host: str, handlers: Mapping[str, Handler], port: int = CONTROL_PORT):
        self._handlers = handlers
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((loopback(host), port))
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._last: tuple[object, bytes] = (None, b"")

    def poll(self) -> None:
        """Answer at most one waiting request."""
        try:
            data, sender = self._socket.recvfrom(_MAX_DATAGRAM)
        except BlockingIOError:
            return
        try:
            self._socket.sendto(self._answer(data), sender)
        except OSError:
            return  # the asker is gone or floods; nobody waits for this answer

    def close(self) -> None:
        self._socket.close()

    def _answer(self, data: bytes) -> bytes:
        try:
            request = json.loads(data)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return _encode(None, {"error": "the request is not a JSON object; use SimControl"})
        request_id = request.get("id")
        if request_id is not None and request_id == self._last[0]:
            return self._last[1]
        handler = self._handlers.get(str(request.get("do")))
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            reply: Mapping[str, Any] = {"error": f"unknown request; use one of {known}"}
        else:
            try:
                reply = handler(request)
            except (ValueError, TypeError, KeyError) as error:
                reply = {"error": str(error)}
        self._last = (request_id, _encode(request_id, reply))
        return self._last[1]


def number(request: Mapping[str, Any], key: str, low: float, high: float) -> float:
    """A finite number of the request in [low, high]. Raises ValueError."""
    value = request.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{key} is {value!r}; give a number from {low:g} to {high:g}")
    return float(value)


def vector(request: Mapping[str, Any], key: str, length: int, limit: float) -> list[float]:
    """``length`` finite numbers of magnitude <= limit. Raises ValueError."""
    values = request.get(key)
    if (
        not isinstance(values, list)
        or len(values) != length
        or not all(isinstance(v, int | float) and math.isfinite(v) for v in values)
        or any(abs(v) > limit for v in values)
    ):
        raise ValueError(f"{key} is {values!r}; give {length} numbers of at most {limit:g}")
    return [float(v) for v in values]


def _encode(request_id: object, reply: Mapping[str, Any]) -> bytes:
    return json.dumps({"id": request_id, **reply}).encode()
