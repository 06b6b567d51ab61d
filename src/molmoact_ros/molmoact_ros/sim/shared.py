"""The window into the running physics: a snapshot in shared memory, one writer, many readers.

The physics process publishes every few milliseconds what the renderer needs (joint positions
and the wall clock of exactly that step, so that images carry honest stamps) and what only the
scorer may see (object poses, true tool pose). Readers never slow the writer down: a sequence
number that is odd during a write plus a checksum tells them when to read again (a seqlock).

The block is a plain file in /dev/shm, mapped read-only by readers. ``multiprocessing``'s
SharedMemory would be the same file, but its resource tracker unlinks the block when any
attached process ends, and again after ``kill -9`` when a successor already owns the name.

Layout, little-endian: magic[8] version(u32) capacity(u32) sequence(u64) length(u32) crc32(u32)
payload (see ``snapshot``).
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from pathlib import Path

from molmoact_ros.geometry import Floats
from molmoact_ros.sim.snapshot import (
    PayloadDecoder,
    SceneHeader,
    Snapshot,
    SnapshotError,
    SnapshotStaleError,
    encode_header,
    encode_step,
    payload_size,
    snapshot_name,
)

__all__ = [
    "SceneHeader",
    "Snapshot",
    "SnapshotError",
    "SnapshotReader",
    "SnapshotStaleError",
    "SnapshotWriter",
    "snapshot_name",
]

SHM_DIRECTORY = Path("/dev/shm")
MAGIC = b"MOLMOSIM"
VERSION = 1
_FIXED = struct.Struct("<8sII")
_SEQUENCE = struct.Struct("<Q")
_CHECK = struct.Struct("<II")
_SEQUENCE_AT = _FIXED.size
_CHECK_AT = _SEQUENCE_AT + _SEQUENCE.size
_PAYLOAD_AT = _CHECK_AT + _CHECK.size
_READ_PATIENCE_S = 0.1


class SnapshotWriter:
    """Creates the block (replacing a dead simulator's) and publishes into it."""

    def __init__(self, name: str, nq: int, object_count: int) -> None:
        size = _PAYLOAD_AT + payload_size(nq, object_count)
        self._path = SHM_DIRECTORY / name
        # Built under another name and renamed, so that no reader ever sees it half made.
        draft = self._path.with_name(f".{name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(descriptor, size)
            self._inode = os.fstat(descriptor).st_ino
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        _FIXED.pack_into(self._map, 0, MAGIC, VERSION, size - _PAYLOAD_AT)
        os.replace(draft, self._path)
        self._sequence = 0
        self._header_block = b""

    def describe(self, header: SceneHeader) -> None:
        """Set the header published from the next ``publish`` on. ValueError when too long."""
        self._header_block = encode_header(header)

    def publish(self, sim_time: float, wall_ns: int, floats: Floats) -> None:
        """``floats``: tool pose [7], qpos [nq], object poses [7 each], concatenated."""
        payload = self._header_block + encode_step(sim_time, wall_ns, floats)
        _SEQUENCE.pack_into(self._map, _SEQUENCE_AT, self._sequence + 1)
        self._map[_PAYLOAD_AT : _PAYLOAD_AT + len(payload)] = payload
        _CHECK.pack_into(self._map, _CHECK_AT, len(payload), zlib.crc32(payload))
        self._sequence += 2
        _SEQUENCE.pack_into(self._map, _SEQUENCE_AT, self._sequence)

    def close(self) -> None:
        """Unmap and remove the block, unless a successor already replaced it."""
        self._map.close()
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            return


class SnapshotReader:
    """Read-only view of a simulator's snapshots; survives its restart.

    ``name`` comes from ``snapshot_name(host)``. A snapshot older than ``stale_after`` seconds
    is refused. Attaching is lazy: a reader may be made before the simulator starts.
    """

    def __init__(self, name: str, stale_after: float = 1.0) -> None:
        self._path = SHM_DIRECTORY / name
        self._stale_after = stale_after
        self._map: mmap.mmap | None = None
        self._decoder = PayloadDecoder()

    def read(self) -> Snapshot:
        """The newest snapshot. Raises SnapshotError, SnapshotStaleError."""
        fresh_map = self._map is None
        if self._map is None:
            self._map = self._attach()
        snapshot = self._decoder.decode(*self._copy(self._map))
        if snapshot.age > self._stale_after and not fresh_map:
            # A restarted simulator has a new block under the same name.
            self.close()
            self._map = self._attach()
            snapshot = self._decoder.decode(*self._copy(self._map))
        if snapshot.age > self._stale_after:
            raise SnapshotStaleError(
                f"the newest snapshot in {self._path} is {snapshot.age:.1f} s old (limit "
                f"{self._stale_after:.1f} s): process {snapshot.header.pid} hangs or died. "
                f"Restart it: python -m molmoact_ros.sim.server --host {snapshot.header.host}"
            )
        return snapshot

    def close(self) -> None:
        """Detach; the next ``read`` attaches again. Never removes the block."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _attach(self) -> mmap.mmap:
        try:
            with self._path.open("rb") as file:
                block = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise SnapshotError(
                f"no simulator is running here ({self._path} does not exist). Start one: "
                "python -m molmoact_ros.sim.server --host <this host>"
            ) from error
        if len(block) < _PAYLOAD_AT or _FIXED.unpack_from(block)[:2] != (MAGIC, VERSION):
            block.close()
            raise SnapshotError(
                f"{self._path} is not a snapshot of version {VERSION}. Stop the simulator that "
                "wrote it, remove the file, and start both sides from one checkout."
            )
        return block

    def _copy(self, block: mmap.mmap) -> tuple[int, bytes]:
        deadline = time.monotonic() + _READ_PATIENCE_S
        while True:
            before = _SEQUENCE.unpack_from(block, _SEQUENCE_AT)[0]
            length, check = _CHECK.unpack_from(block, _CHECK_AT)
            payload = block[_PAYLOAD_AT : _PAYLOAD_AT + length]
            after = _SEQUENCE.unpack_from(block, _SEQUENCE_AT)[0]
            if before == after and before % 2 == 0 and before and zlib.crc32(payload) == check:
                return before // 2, payload
            if time.monotonic() > deadline:
                self.close()
                raise SnapshotError(
                    f"{self._path} holds no complete snapshot: the simulator has only just "
                    "started or was killed while writing. Try again; if this stays, restart it."
                )
            time.sleep(1e-4)
