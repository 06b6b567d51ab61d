"""The wire: what goes over the WebSocket, and the checks on what comes in.

Server to page, binary: 16-byte header (little endian) and a JPEG.
    u8 stream, u8 version, u16 zero, u32 number, f64 stamp (seconds)
Server to page, text: JSON objects with a ``type``: hello, status, thought, answer, error, pong.
Page to server, binary: 5 bytes, u8 stream and u32 number: "this picture is on the screen".
Page to server, text: JSON, ``{"type": "start", "instruction": ..., "mode": ...}`` and so on.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import dataclass

from molmoact_ros.web.page import Picture, Stream
from molmoact_ros.web.status import MODES, ThoughtView, finite

VERSION = 1
MAX_MESSAGE_BYTES = 8192
MAX_INSTRUCTION = 240
COMMANDS = ("start", "stop", "reset", "home", "new_scene", "ping")

_HEADER = struct.Struct("<BBHId")
_SEEN = struct.Struct("<BI")


class MalformedError(ValueError):
    """A message from a page that means nothing; the text says what was expected."""


@dataclass(frozen=True)
class Request:
    """A checked message. id: the page's own number, echoed in the answer."""

    kind: str
    id: int = 0
    instruction: str = ""
    mode: str = "auto"
    time: float = 0.0


def pack_picture(stream: Stream, picture: Picture, jpeg: bytes) -> bytes:
    """One binary WebSocket frame."""
    number = picture.number & 0xFFFFFFFF
    return _HEADER.pack(int(stream), VERSION, 0, number, picture.stamp) + jpeg


def unpack_picture(data: bytes) -> tuple[Stream, int, float, bytes]:
    """Stream, number, stamp and JPEG of a binary frame: the page's side, for tests and tools."""
    stream, _, _, number, stamp = _HEADER.unpack_from(data)
    return Stream(stream), number, stamp, data[_HEADER.size :]


def pack_seen(stream: Stream, number: int) -> bytes:
    """A page's receipt for a picture."""
    return _SEEN.pack(int(stream), number & 0xFFFFFFFF)


def unpack_seen(data: bytes) -> tuple[Stream, int]:
    """Raises MalformedError unless these are 5 bytes naming a stream."""
    if len(data) != _SEEN.size:
        raise MalformedError(
            f"binary message of {len(data)} bytes; expected a receipt of {_SEEN.size}"
        )
    stream, number = _SEEN.unpack(data)
    if stream not in Stream.__members__.values():
        raise MalformedError(f"receipt for stream {stream}; expected one of 1, 2, 3")
    return Stream(stream), number


def parse_request(text: str) -> Request:
    """A text message as a Request. Raises MalformedError with what was expected."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise MalformedError(f"message of {len(text)} characters; send at most {MAX_MESSAGE_BYTES}")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError("message is not JSON; send an object with a type") from error
    kind = body.get("type") if isinstance(body, dict) else None
    if not isinstance(kind, str) or kind not in COMMANDS:
        raise MalformedError(
            f"unknown message; expected an object with a type of {', '.join(COMMANDS)}"
        )
    if kind == "stop":
        return Request("stop", _number(body.get("id")))  # never refused for its other fields
    number = body.get("id", 0)
    if not _is_id(number):
        raise MalformedError("id must be a whole number between 0 and 2^31")
    if kind == "ping":
        time = body.get("time", 0.0)
        if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) < 1e15:
            raise MalformedError("time must be a number of milliseconds")
        return Request(kind, number, time=float(time))
    if kind == "start":
        return _start(body, number)
    return Request(kind, number)


def _start(body: dict[str, object], number: int) -> Request:
    raw = body.get("instruction")
    if not isinstance(raw, str):
        raise MalformedError("instruction must be text; type what the robot should do")
    instruction = " ".join(raw.split())
    if not instruction:
        raise MalformedError("the instruction is empty; type what the robot should do")
    if len(instruction) > MAX_INSTRUCTION or not instruction.isprintable():
        raise MalformedError(
            f"the instruction has {len(instruction)} characters or some that cannot be printed; "
            f"use at most {MAX_INSTRUCTION} ordinary ones"
        )
    mode = body.get("mode", "auto")
    if not isinstance(mode, str) or mode not in MODES:
        raise MalformedError(f"unknown mode; expected one of {', '.join(MODES)}")
    return Request("start", number, instruction, mode)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _number(value: object) -> int:
    return value if isinstance(value, int) and _is_id(value) else 0


def event(kind: str, **fields: object) -> str:
    """A text message to the page; NaN becomes null."""
    return json.dumps({"type": kind, **{k: finite(v) for k, v in fields.items()}})


def thought_event(number: int, thought: ThoughtView) -> str:
    """One thought, with the number that orders it."""
    return event("thought", number=number, thought=dataclasses.asdict(thought))
