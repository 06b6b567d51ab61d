"""The end of an MCAP file, replaced in place (mcap.dev/spec).

A finished file ends with DataEnd, a summary and a footer. A torn file lacks them and may end in
the middle of a record. Both are mended the same way: cut behind the last whole record, write the
end anew. Nothing before that point is touched or copied, so it works on a full disk.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Chunk,
    DataEnd,
    Footer,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Statistics,
    SummaryOffset,
)

from molmoact_ros.bags.mcap_contents import MAGIC, PREFIX, Contents, record_stream


def write_tail(path: Path, found: Contents, extra: Mapping[str, Mapping[str, str]]) -> None:
    """Cut the file at ``found.end``, append metadata records ``extra``, and close it properly.

    Indexes of messages that a torn file lacks are rebuilt. Raises OSError.
    """
    with path.open("r+b") as file:
        file.seek(found.end)
        out = RecordBuilder()
        _rebuild_last_index(path, found, out)
        for name, values in extra.items():
            at = found.end + out.count
            Metadata(metadata=dict(values), name=name).write(out)
            found.metadata.append(MetadataIndex(at, found.end + out.count - at, name))
            found.values[name] = dict(values)
        DataEnd(0).write(out)
        body = out.end()
        file.write(body)
        file.write(_summary(found, found.end + len(body)))
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _rebuild_last_index(path: Path, found: Contents, out: RecordBuilder) -> None:
    """A process that died between a chunk and its index records leaves that chunk without them."""
    chunk = found.chunks[-1] if found.chunks else None
    if (
        chunk is None
        or chunk.chunk_start_offset + chunk.chunk_length + (chunk.message_index_length) < found.end
    ):
        return
    with path.open("rb") as file:
        file.seek(chunk.chunk_start_offset + PREFIX.size)
        whole = Chunk.read(record_stream(file.read(chunk.chunk_length - PREFIX.size)))
    entries: dict[int, MessageIndex] = {}
    at = 0
    data = whole.data
    while at + PREFIX.size <= len(data) and not whole.compression:
        opcode, length = PREFIX.unpack_from(data, at)
        if opcode == Opcode.MESSAGE:
            channel, _, stamp = struct.unpack_from("<HIQ", data, at + PREFIX.size)
            if channel not in chunk.message_index_offsets:
                index = entries.setdefault(channel, MessageIndex(channel_id=channel, records=[]))
                index.records.append((stamp, at))
        at += PREFIX.size + length
    for channel, index in entries.items():
        chunk.message_index_offsets[channel] = found.end + out.count
        before = out.count
        index.write(out)
        chunk.message_index_length += out.count - before


def _summary(found: Contents, start: int) -> bytes:
    """Summary section, footer and closing magic for a summary that begins at ``start``."""
    out = RecordBuilder()
    statistics = Statistics(
        attachment_count=0,
        channel_count=len(found.channels),
        channel_message_counts=dict(found.counts),
        chunk_count=len(found.chunks),
        message_count=found.messages,
        message_end_time=found.end_ns,
        message_start_time=found.start_ns,
        metadata_count=len(found.metadata),
        schema_count=len(found.schemas),
    )
    groups = (
        (Opcode.SCHEMA, list(found.schemas.values())),
        (Opcode.CHANNEL, list(found.channels.values())),
        (Opcode.STATISTICS, [statistics]),
        (Opcode.CHUNK_INDEX, found.chunks),
        (Opcode.METADATA_INDEX, found.metadata),
    )
    offsets = []
    for opcode, records in groups:
        at = out.count
        for record in records:
            record.write(out)
        if out.count > at:
            offsets.append(SummaryOffset(opcode, start + at, out.count - at))
    offset_start = start + out.count
    for offset in offsets:
        offset.write(out)
    data = out.end()
    head = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offset_start)
    footer = RecordBuilder()
    Footer(
        summary_crc=zlib.crc32(head, zlib.crc32(data)),
        summary_offset_start=offset_start,
        summary_start=start,
    ).write(footer)
    return data + footer.end() + MAGIC
