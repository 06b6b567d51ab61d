"""One episode while it is recorded: messages in, from one thread; a bag out.

Three kinds of threads, so that none waits for another: compression workers, one writer that owns
the file, one that waits for the disk (fsync). What is not yet written is bounded in bytes; beyond
that messages are counted as dropped, never silently lost.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from molmoact_ros.bags.cdr import BadCdr
from molmoact_ros.bags.definitions import load_definition
from molmoact_ros.bags.metadata import Topic
from molmoact_ros.bags.pictures import COMPRESSED, IMAGE, Codec, compress, compressed_topic
from molmoact_ros.bags.writer import BagWriter

TICK_S = 0.05
SYNC_S = 2.0
QUEUE_BYTES = 256 << 20
RESERVE_BYTES = 256 << 20
"""Disk space left alone: a full disk stops more than the recorder."""

DIED = "{}: the writing thread died; its traceback is in the log"


@dataclass(frozen=True)
class _Item:
    topic: str
    log_ns: int
    publish_ns: int
    data: bytes
    charge: int


class Take:
    """Call order: ``start``, ``put`` again and again, ``stop`` once. ``put`` never blocks."""

    def __init__(
        self,
        folder: Path,
        topics: Sequence[Topic],
        custom: Mapping[str, str],
        codec: Codec,
        *,
        workers: int = 1,
        reserve: int = RESERVE_BYTES,
    ) -> None:
        """``topics`` as subscribed. Raises BadBag, UnknownType or OSError: nothing was started."""
        self._codec = codec
        self._reserve = reserve
        self._topics = {topic.name: topic for topic in topics}
        self._definitions = {t.type: load_definition(t.type) for t in topics}
        self._definitions[COMPRESSED] = load_definition(COMPRESSED)
        self.writer = BagWriter(folder, custom, time.monotonic())
        self.folder = folder
        self.error = ""
        self.disk_full = False
        self.dropped: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self._images: SimpleQueue[_Item | None] = SimpleQueue()
        self._ready: SimpleQueue[_Item | None] = SimpleQueue()
        self._queued = 0
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._workers = [
            threading.Thread(target=self._compress_loop, name=f"compress{i}", daemon=True)
            for i in range(workers)
        ]
        self._writing = threading.Thread(target=self._write, name="writer", daemon=True)
        self._syncing = threading.Thread(target=self._sync_loop, name="fsync", daemon=True)

    def start(self) -> None:
        """Raises OSError when the disk refuses the first bytes."""
        for topic in self._topics.values():
            if topic.type != IMAGE:
                self.writer.add_topic(topic, self._definitions[topic.type])
        self.writer.save_topics()
        for thread in (self._writing, self._syncing, *self._workers):
            thread.start()

    def put(self, topic: str, log_ns: int, publish_ns: int, data: bytes) -> bool:
        """Take one message over. False: dropped, because disk or compression is behind."""
        known = self._topics.get(topic)
        if known is None or self.error or self._done.is_set():
            self.dropped[topic] += 1
            return False
        with self._lock:
            full = self._queued + len(data) > QUEUE_BYTES
            if not full:
                self._queued += len(data)
        if full:
            self.dropped[topic] += 1
            return False
        item = _Item(topic, log_ns, publish_ns, data, len(data))
        (self._images if known.type == IMAGE else self._ready).put(item)
        return True

    def add_topic(self, topic: Topic) -> None:
        """A topic that appeared during the take. Raises UnknownType."""
        self._definitions.setdefault(topic.type, load_definition(topic.type))
        self._topics.setdefault(topic.name, topic)

    @property
    def failure(self) -> str:
        """Why nothing more is written; empty while all is well."""
        return self.error

    def stop(self, custom: Mapping[str, str]) -> Path:
        """Write what is queued, close, return where the bag is (``.partial`` after an error)."""
        for _ in self._workers:
            self._images.put(None)
        for worker in self._workers:
            worker.join()
        self._ready.put(None)
        self._writing.join()
        self._done.set()
        self._syncing.join()
        if not self.error:
            try:
                self.writer.close(custom)
            except OSError as error:
                self._fail(error)
        if self.error:
            self.writer.abandon()
        return self.writer.path

    # Threads

    def _compress_loop(self) -> None:
        while (item := self._images.get()) is not None:
            try:
                made = compress(item.data, self._codec)
            except BadCdr:
                made = None  # kept as it came: a person can still find out what was sent
            if made is not None:
                encoding, data = made
                name = compressed_topic(item.topic, encoding)
                item = _Item(name, item.log_ns, item.publish_ns, data, item.charge)
            self._ready.put(item)

    def _write(self) -> None:
        ended = False
        try:
            self._write_loop()
            ended = True
        finally:
            # Not only what _write_loop foresees: a thread that dies must be noticed at once.
            if not ended and not self.error:
                self.error = DIED.format(self.folder)

    def _write_loop(self) -> None:
        while True:
            try:
                item = self._ready.get(timeout=TICK_S)
            except Empty:
                item = _Item("", 0, 0, b"", 0)
            if item is None:
                return
            try:
                if item.topic and not self.error:
                    self._announce(item.topic)
                    self.writer.write(item.topic, item.log_ns, item.publish_ns, item.data)
                    self.written[item.topic] += 1
                if not self.error:
                    self.writer.tick(time.monotonic())
            except (OSError, ValueError, KeyError) as error:
                self._fail(error)
            if item.charge:
                with self._lock:
                    self._queued -= item.charge

    def _announce(self, name: str) -> None:
        topic = self._topics.get(name)
        if topic is None:
            parent = self._topics[name.rsplit("/", 1)[0]]
            definition = self._definitions[COMPRESSED]
            topic = Topic(
                name, COMPRESSED, definition.hash, parent.reliable, parent.latched, parent.depth
            )
            self._topics[name] = topic
        self.writer.add_topic(topic, self._definitions[topic.type])

    def _sync_loop(self) -> None:
        while not self._done.wait(SYNC_S):
            try:
                self.writer.sync()
                if shutil.disk_usage(self.writer.path).free < self._reserve:
                    self.disk_full = True
            except OSError as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.error:
            self.disk_full = self.disk_full or getattr(error, "errno", None) == 28
            self.error = f"{self.folder}: {error}"
