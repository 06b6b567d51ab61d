"""What an MCAP file holds (mcap.dev/spec), from its summary or, when torn, its records."""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    Message,
    Metadata,
    MetadataIndex,
    Schema,
)
from mcap.stream_reader import breakup_chunk

from molmoact_ros.bags.metadata import BadBag

MAGIC = b"\x89MCAP0\r\n"
PREFIX = struct.Struct("<BQ")
DATA_END_BYTES = PREFIX.size + 4
SET_ASIDE = 0x80
"""First opcode the specification leaves to applications; readers skip it. A chunk with a wrong
checksum gets it, so that the rest of the file can be read and nothing is thrown away."""


@dataclass
class Contents:
    """What a file holds, as far as it was read. ``end``: where its end must be written."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    start_ns: int = 0
    end_ns: int = 0
    end: int = len(MAGIC)
    lost_bytes: int = 0
    bad_chunks: int = 0

    @property
    def messages(self) -> int:
        return sum(self.counts.values())


def scan(path: Path, *, mend: bool = False) -> Contents:
    """Read every whole record. ``mend``: set chunks with a wrong checksum aside, in the file.

    Raises BadBag when the file does not even begin like MCAP, OSError.
    """
    found = Contents()
    size = path.stat().st_size
    with path.open("r+b" if mend else "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BadBag(f"{path}: does not begin like an MCAP file, nothing can be recovered")
        while _record(file, found, size, mend):
            pass
    found.lost_bytes = size - found.end
    return found


def load(path: Path) -> Contents:
    """The same from the summary of a finished file, in no time. Raises BadBag when it has none."""
    try:
        with path.open("rb") as file:
            reader = SeekingReader(file)
            summary = reader.get_summary()
            values = {item.name: dict(item.metadata) for item in reader.iter_metadata()}
            file.seek(-len(MAGIC) - 20, 2)
            (start,) = struct.unpack("<Q", file.read(8))
    except (OSError, McapError, ValueError, struct.error) as error:
        raise BadBag(
            f"{path}: has no readable end ({error}); run molmoact bag recover {path.parent}"
        ) from error
    if summary is None or summary.statistics is None:
        raise BadBag(f"{path}: has no summary; run molmoact bag recover {path.parent}")
    return Contents(
        schemas=dict(summary.schemas),
        channels=dict(summary.channels),
        chunks=list(summary.chunk_indexes),
        metadata=list(summary.metadata_indexes),
        values=values,
        counts=dict(summary.statistics.channel_message_counts),
        start_ns=summary.statistics.message_start_time,
        end_ns=summary.statistics.message_end_time,
        end=start - DATA_END_BYTES,
    )


def _record(file: BinaryIO, found: Contents, size: int, mend: bool) -> bool:
    """Read one top-level record into ``found``. False: there is no further whole one."""
    start = file.tell()
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return False
    opcode, length = PREFIX.unpack(prefix)
    whole = start + PREFIX.size + length <= size
    if not whole or opcode in (0, Opcode.DATA_END, Opcode.FOOTER):
        return False
    if opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.CHUNK, Opcode.METADATA, Opcode.HEADER):
        body = file.read(length)
    else:
        body = b""
    stream = record_stream(body)
    if opcode == Opcode.CHUNK:
        _chunk(file, found, start, length, stream, mend)
    elif opcode == Opcode.MESSAGE_INDEX:
        _message_index(file, found, start, length)
    elif opcode == Opcode.METADATA:
        data = Metadata.read(stream)
        found.metadata.append(MetadataIndex(start, length + PREFIX.size, data.name))
        found.values[data.name] = data.metadata
    file.seek(start + PREFIX.size + length)
    found.end = file.tell()
    return True


def record_stream(body: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))


def _chunk(
    file: BinaryIO, found: Contents, start: int, length: int, stream: ReadDataStream, mend: bool
) -> None:
    try:
        chunk = Chunk.read(stream)
        records = breakup_chunk(chunk, validate_crc=True)
    except (McapError, ValueError, struct.error, EOFError):
        found.bad_chunks += 1
        if mend:
            file.seek(start)
            file.write(bytes([SET_ASIDE]))
        return
    times = []
    for record in records:
        if isinstance(record, Schema):
            found.schemas[record.id] = record
        elif isinstance(record, Channel):
            found.channels[record.id] = record
        elif isinstance(record, Message):
            found.counts[record.channel_id] += 1
            times.append(record.log_time)
    if times:
        found.start_ns = min([found.start_ns or times[0], *times])
        found.end_ns = max(found.end_ns, *times)
    found.chunks.append(
        ChunkIndex(
            chunk_length=length + PREFIX.size,
            chunk_start_offset=start,
            compression=chunk.compression,
            compressed_size=len(chunk.data),
            message_end_time=chunk.message_end_time,
            message_index_length=0,
            message_index_offsets={},
            message_start_time=chunk.message_start_time,
            uncompressed_size=chunk.uncompressed_size,
        )
    )


def _message_index(file: BinaryIO, found: Contents, start: int, length: int) -> None:
    """Index records follow their chunk; a chunk that was set aside keeps none."""
    chunk = found.chunks[-1] if found.chunks else None
    if chunk is None:
        return
    behind = chunk.chunk_start_offset + chunk.chunk_length + chunk.message_index_length
    if behind != start:
        return
    (channel,) = struct.unpack("<H", file.read(2))
    chunk.message_index_offsets[channel] = start
    chunk.message_index_length += length + PREFIX.size
