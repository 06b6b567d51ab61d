"""The few fields of serialized messages that a recorder must know, without any message type.

Messages are plain CDR (OMG DDSI-RTPS 2.5, 10.2: a 4-byte header, then values aligned to their
size counted from behind that header). Only what ROS 2 writes by default is read: CDR_LE, CDR_BE.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_BYTES = 4
LITTLE = b"\x00\x01\x00\x00"


class BadCdr(ValueError):
    """The bytes are not the message they should be; says what was found."""


class CdrReader:
    """Reads values one after the other. Raises BadCdr past the end."""

    def __init__(self, data: bytes) -> None:
        if len(data) < HEADER_BYTES or data[0] != 0 or data[1] not in (0, 1):
            raise BadCdr(
                f"message starts with {bytes(data[:4]).hex() or 'nothing'}, expected plain CDR "
                "(0000 or 0001); publish with rmw_fastrtps_cpp or rmw_cyclonedds_cpp"
            )
        self._data = memoryview(data)
        self._order = "<" if data[1] == 1 else ">"
        self._at = HEADER_BYTES

    def _take(self, code: str, size: int) -> int:
        start = HEADER_BYTES + -(-(self._at - HEADER_BYTES) // size) * size
        if start + size > len(self._data):
            raise BadCdr(f"message ends after {len(self._data)} bytes, a number is missing")
        self._at = start + size
        return int(struct.unpack_from(self._order + code, self._data, start)[0])

    def uint8(self) -> int:
        return self._take("B", 1)

    def int32(self) -> int:
        return self._take("i", 4)

    def uint32(self) -> int:
        return self._take("I", 4)

    def uint64(self) -> int:
        return self._take("Q", 8)

    def string(self) -> str:
        raw = self.octets()
        return bytes(raw[:-1] if len(raw) else raw).decode("utf-8", "replace")

    def octets(self) -> memoryview:
        """A counted run of bytes (string with its zero, or uint8[]), not copied."""
        count = self.uint32()
        if self._at + count > len(self._data):
            raise BadCdr(f"a field of {count} bytes does not fit into {len(self._data)}")
        found = self._data[self._at : self._at + count]
        self._at += count
        return found


class CdrWriter:
    """Builds a little-endian message."""

    def __init__(self) -> None:
        self._data = bytearray(LITTLE)

    def _put(self, code: str, size: int, value: int) -> CdrWriter:
        self._data += b"\0" * (-(len(self._data) - HEADER_BYTES) % size)
        self._data += struct.pack("<" + code, value)
        return self

    def uint8(self, value: int) -> CdrWriter:
        return self._put("B", 1, value)

    def int32(self, value: int) -> CdrWriter:
        return self._put("i", 4, value)

    def uint32(self, value: int) -> CdrWriter:
        return self._put("I", 4, value)

    def string(self, value: str) -> CdrWriter:
        return self.octets(value.encode("utf-8") + b"\0")

    def octets(self, value: bytes | memoryview) -> CdrWriter:
        self.uint32(len(value))
        self._data += value
        return self

    def header(self, stamp_ns: int, frame: str = "") -> CdrWriter:
        """std_msgs/Header."""
        return self.int32(stamp_ns // 10**9).uint32(stamp_ns % 10**9).string(frame)

    def bytes(self) -> bytes:
        return bytes(self._data)


@dataclass(frozen=True)
class RawImage:
    """sensor_msgs/Image taken apart; ``data`` is the message's own memory."""

    stamp_ns: int
    frame: str
    height: int
    width: int
    encoding: str
    big_endian: bool
    step: int
    data: memoryview


def read_stamp_ns(data: bytes) -> int:
    """Stamp, in nanoseconds, of a message whose first field is std_msgs/Header. Raises BadCdr."""
    reader = CdrReader(data)
    return reader.int32() * 10**9 + reader.uint32()


def read_image(data: bytes) -> RawImage:
    """Raises BadCdr when the bytes are no sensor_msgs/Image."""
    reader = CdrReader(data)
    image = RawImage(
        stamp_ns=reader.int32() * 10**9 + reader.uint32(),
        frame=reader.string(),
        height=reader.uint32(),
        width=reader.uint32(),
        encoding=reader.string(),
        big_endian=bool(reader.uint8()),
        step=reader.uint32(),
        data=reader.octets(),
    )
    if image.step * image.height > len(image.data) or not image.height or not image.width:
        raise BadCdr(
            f"image {image.width}x{image.height} with step {image.step} holds "
            f"{len(image.data)} bytes; check the camera driver"
        )
    return image


def write_compressed_image(stamp_ns: int, frame: str, format_: str, data: bytes) -> bytes:
    """sensor_msgs/CompressedImage."""
    return CdrWriter().header(stamp_ns, frame).string(format_).octets(data).bytes()
