"""The wire: what goes over the WebSocket. What a page may ask is in ``requests``.

Server to page, binary: 16-byte header (little endian) and a picture (PNG for PREVIEW, else JPEG).
    u8 stream, u8 version, u16 zero, u32 number, f64 stamp (seconds)
Server to page, text: JSON objects with a ``type``: hello, status, thought, role, frozen, answer,
error, pong.
Page to server, binary: 5 bytes, u8 stream and u32 number: "this picture is on the screen".
Page to server, text: JSON, ``{"type": "start", "instruction": ..., "mode": ...}`` and so on.
"""

from __future__ import annotations

import dataclasses
import json
import struct

from molmoact_ros.web.picture import Picture, Stream
from molmoact_ros.web.requests import MalformedError
from molmoact_ros.web.status import ThoughtView, finite

VERSION = 2

_HEADER = struct.Struct("<BBHId")
_SEEN = struct.Struct("<BI")


def pack_picture(stream: Stream, picture: Picture, jpeg: bytes) -> bytes:
    """One binary WebSocket frame."""
    return pack_image(stream, picture.number, picture.stamp, jpeg)


def pack_image(stream: Stream, number: int, stamp: float, data: bytes) -> bytes:
    """One binary WebSocket frame around an encoded picture."""
    return _HEADER.pack(int(stream), VERSION, 0, number & 0xFFFFFFFF, stamp) + data


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
        raise MalformedError(f"receipt for stream {stream}; expected one of 1 to 4")
    return Stream(stream), number


def event(kind: str, **fields: object) -> str:
    """A text message to the page; NaN becomes null."""
    return json.dumps({"type": kind, **{k: finite(v) for k, v in fields.items()}})


def thought_event(number: int, thought: ThoughtView) -> str:
    """One thought, with the number that orders it."""
    return event("thought", number=number, thought=dataclasses.asdict(thought))
