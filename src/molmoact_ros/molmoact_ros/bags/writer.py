"""One episode's file while it is written: MCAP whose chunks are closed by time.

A chunk that is not closed does not exist for a reader, so ``tick`` closes one every
``FLUSH_S`` seconds: that is all a killed process can lose. ``sync`` bounds what a pulled plug can
lose; it may block, so another thread calls it. The folder is ``<episode>.partial`` until ``close``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mcap.exceptions import McapError
from mcap.writer import CompressionType, IndexType, Writer

from molmoact_ros.bags.definitions import TypeDefinition
from molmoact_ros.bags.metadata import BadBag, BagSummary, Topic, sync_folder, write_metadata

PARTIAL = ".partial"
FLUSH_S = 0.4
"""Below the half second that may be lost, with room for a busy disk."""
CHUNK_BYTES = 4 << 20
LIBRARY = "molmoact_ros"


class BagWriter:
    """Writes one bag. One thread calls everything; times are nanoseconds since 1970.

    Raises OSError when the disk refuses; the folder then stays for recovery.
    """

    def __init__(self, folder: Path, custom: Mapping[str, str], clock: float) -> None:
        """``folder``: the final path; must not exist. ``clock``: monotonic seconds, now."""
        self.folder = folder
        self._partial = folder.with_name(folder.name + PARTIAL)
        if folder.exists() or self._partial.exists():
            raise BadBag(f"{folder} exists already; choose another episode name")
        self._partial.mkdir(parents=True)
        self._custom = dict(custom)
        self._file = f"{folder.name}_0.mcap"
        self._stream = (self._partial / self._file).open("wb", buffering=1 << 20)
        self._writer = Writer(
            self._stream,
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.NONE,
            index_types=IndexType.ALL,
            enable_crcs=True,
        )
        self._writer.start(profile="ros2", library=LIBRARY)
        self._topics: dict[str, Topic] = {}
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._start_ns = self._end_ns = 0
        self._flushed = clock
        self._pending = 0
        self._written = 0
        self.add_metadata("episode", self._custom)

    @property
    def path(self) -> Path:
        """Where the bag is now."""
        return self._partial if self._partial.exists() else self.folder

    @property
    def bytes_written(self) -> int:
        return self._written

    def add_topic(self, topic: Topic, definition: TypeDefinition) -> None:
        """Announce a topic; before its first message. Repeating is harmless."""
        if topic.name in self._channels:
            return
        if definition.name not in self._schemas:
            self._schemas[definition.name] = self._writer.register_schema(
                definition.name, "ros2msg", definition.text.encode("utf-8")
            )
        self._channels[topic.name] = self._writer.register_channel(
            topic.name, "cdr", self._schemas[definition.name], topic.channel_metadata
        )
        self._topics[topic.name] = topic
        self._counts[topic.name] = 0

    def save_topics(self) -> None:
        """Put what was announced on the disk, with a metadata.yaml that says: still open."""
        self._writer.flush()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        write_metadata(self._partial, self._summary({"state": "recording"}))
        sync_folder(self._partial.parent)

    def write(self, topic: str, log_ns: int, publish_ns: int, data: bytes) -> None:
        """Append one serialized message of an announced topic."""
        self._counts[topic] += 1
        self._start_ns = min(self._start_ns, log_ns) if self._start_ns else log_ns
        self._end_ns = max(self._end_ns, log_ns)
        self._writer.add_message(
            self._channels[topic], log_ns, data, publish_ns, self._counts[topic]
        )
        self._pending += 1
        self._written += len(data)

    def add_metadata(self, name: str, values: Mapping[str, str]) -> None:
        self._writer.add_metadata(name, dict(values))

    def tick(self, clock: float) -> None:
        """Call at least ten times a second: closes chunks. ``clock``: monotonic seconds."""
        if clock - self._flushed >= FLUSH_S:
            if self._pending:
                self._writer.flush()
                self._stream.flush()
            self._pending, self._flushed = 0, clock

    def sync(self) -> None:
        """Wait until all closed chunks are on the disk. From any thread, not after ``close``."""
        os.fdatasync(self._stream.fileno())

    def close(self, custom: Mapping[str, str]) -> BagSummary:
        """Index, metadata.yaml, final name. ``custom``: how it ended. Raises OSError."""
        self._custom.update(custom)
        self.add_metadata("episode", self._custom)
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        summary = self._summary({"state": "complete"})
        write_metadata(self._partial, summary)
        self._partial.rename(self.folder)
        sync_folder(self.folder.parent)
        return summary

    def abandon(self) -> None:
        """After an error: give the file handle back, leave the rest to recovery."""
        try:
            self._writer.flush()
            self._stream.close()
        except (OSError, ValueError, McapError):
            # The disk refused already, and closing tries to write what is buffered once more;
            # Python closes the file itself all the same.
            return

    def _summary(self, state: Mapping[str, str]) -> BagSummary:
        return BagSummary(
            self._file,
            tuple(self._topics.values()),
            dict(self._counts),
            self._start_ns,
            self._end_ns,
            {**self._custom, **state},
        )
