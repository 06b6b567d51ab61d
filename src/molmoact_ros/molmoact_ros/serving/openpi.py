"""The conversation of openpi's client (``openpi-client`` on PyPI) with our policy.

After the connection opens the server sends a map of metadata; then every observation map is
answered with ``{"actions": float64 [N, D], "server_timing": {...}}``. Arrays travel as
msgpack-numpy maps with byte-string keys. A request that fails is answered with a TEXT message,
which that client raises as an error; the connection lives. See docs/policy_server.md for keys.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

import msgpack
import numpy as np

from molmoact_ros.policy.base import Observation, PolicyError
from molmoact_ros.policy.startup_checks import ModelDescription
from molmoact_ros.policy.wire.codec import (
    DEFAULT_LIMITS,
    WireError,
    build_array,
    unpack_any,
)
from molmoact_ros.policy.wire.handshake import to_wire
from molmoact_ros.policy.wire.pictures import picture_from_wire
from molmoact_ros.policy.wire.requests import check_pictures, read_instruction
from molmoact_ros.reasoning.thought import ThoughtRefused
from molmoact_ros.serving.worker import PolicyWorker

log = logging.getLogger(__name__)

PROMPT_KEYS = ("prompt",)
CAMERA_KEYS = (
    ("observation/exterior_image_1_left", "observation/image", "image"),
    ("observation/wrist_image_left", "observation/wrist_image", "wrist_image"),
)
"""First key that is there counts; by camera of the model: external, wrist."""
_DTYPES = {
    dtype.str: dtype
    for dtype in map(np.dtype, ("?", "u1", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"))
}
"""Observations hold joint positions and flags as well; object arrays are not among them."""


class Socket(Protocol):
    """What a conversation needs of a websocket connection."""

    async def recv(self) -> bytes | str: ...
    async def send(self, message: bytes | str) -> None: ...
    async def wait_closed(self) -> None: ...


class OpenpiSession:
    """Serves one openpi client until it leaves."""

    def __init__(self, socket: Socket, worker: PolicyWorker, model: ModelDescription) -> None:
        self._socket, self._worker, self._model = socket, worker, model
        self._prompt = ""
        self._previous_s: float | None = None

    async def serve(self) -> None:
        """Raises the socket's own errors only."""
        await self._socket.send(pack_openpi(metadata(self._model)))
        while True:
            data = await self._socket.recv()
            began = time.perf_counter()
            try:
                reply: bytes | str = await self._infer(data)
            except (WireError, PolicyError) as error:
                reply = str(error)
            except ThoughtRefused as refusal:
                reply = f"the thought was refused: {refusal.reason}"
            await self._socket.send(reply)
            self._previous_s = time.perf_counter() - began

    async def _infer(self, data: bytes | str) -> bytes:
        observation = read_openpi(data, self._model)
        canceled = threading.Event()
        thinking = asyncio.create_task(self._think(observation, canceled))
        leaving = asyncio.create_task(self._socket.wait_closed())
        try:
            await asyncio.wait({thinking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            # A client that left gets no answer; the decode stops for the next robot.
            canceled.set()
            return await thinking
        finally:
            canceled.set()
            leaving.cancel()
            thinking.cancel()

    async def _think(self, observation: Observation, canceled: threading.Event) -> bytes:
        if observation.instruction != self._prompt:
            await self._worker.reset(observation.instruction)
            self._prompt = observation.instruction
        thought = await self._worker.think(observation, canceled, lambda segment: None)
        timing = {"infer_ms": 1000 * thought.timings["server"]}
        if self._previous_s is not None:
            timing["prev_total_ms"] = 1000 * self._previous_s
        # Nothing else that is an array: openpi's ActionChunkBroker takes row k of each of them.
        actions = np.asarray(thought.actions, np.float64)
        return pack_openpi({"actions": actions, "server_timing": timing, "text": thought.text})


def metadata(model: ModelDescription) -> dict[str, Any]:
    """What the client sees as ``get_server_metadata()``."""
    keys = {name: list(keys) for name, keys in zip(model.cameras, CAMERA_KEYS, strict=False)}
    return {**to_wire(model), "observation_keys": keys, "prompt_keys": list(PROMPT_KEYS)}


def read_openpi(data: bytes | str, model: ModelDescription) -> Observation:
    """The observation in an openpi message. Raises WireError naming the key that is missing."""
    message = unpack_any(data, DEFAULT_LIMITS, _array_of)
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise WireError("the observation is no map with text keys; send openpi's observation map")
    if len(model.cameras) > len(CAMERA_KEYS):
        raise WireError("openpi's keys name two cameras, the model has more; use our own client")
    images = tuple(
        picture_from_wire(_first(message, CAMERA_KEYS[index], name), model.max_image_side)
        for index, name in enumerate(model.cameras)
    )
    check_pictures(images, model)
    _first(message, PROMPT_KEYS, "instruction")
    return Observation(time.time(), images, read_instruction(message, PROMPT_KEYS[0]))


def pack_openpi(message: Mapping[str, Any]) -> bytes:
    """Plain values and arrays in openpi's form."""
    return bytes(msgpack.packb(message, default=_array_map, use_bin_type=True))


def _first(message: Mapping[str, Any], keys: tuple[str, ...], what: str) -> Any:
    for key in keys:
        if key in message:
            return message[key]
    raise WireError(f"the observation has no {what}; send it as {' or '.join(keys)}")


def _array_of(entry: dict[Any, Any]) -> Any:
    if b"__ndarray__" in entry:
        return build_array(entry.get(b"dtype"), _DTYPES, entry.get(b"shape"), entry.get(b"data"))
    if b"__npgeneric__" in entry:
        value = entry.get(b"data")
        if not isinstance(value, (bool, int, float)):
            raise WireError(f"a numpy scalar holds {type(value).__name__}; send a number")
        return value
    return entry


def _array_map(value: object) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray) and value.dtype.str in _DTYPES:
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": list(value.shape),
        }
    raise TypeError(f"{type(value).__name__} cannot be sent")
