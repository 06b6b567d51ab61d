"""The window into the running physics: a snapshot in shared memory, one writer, many readers.

The physics process publishes every few milliseconds what the renderer needs (joint positions
and the wall clock of exactly that step, so that images carry honest stamps) and what only the
scorer may see (object poses, true tool pose). Readers never slow the writer down: a sequence
number that is odd during a write plus a checksum tells them when to read again (a seqlock).

The block is a plain file in /dev/shm, mapped read-only by readers. ``multiprocessing``'s
SharedMemory would be the same file, but its resource tracker unlinks the block when any
attached process ends, and again after ``kill -9`` when a successor already owns the name.

Layout, little-endian: magic[8] version(u32) capacity(u32) sequence(u64) length(u32) crc32(u32)
payload; payload: header length(u32) zero(u32), JSON header padded to 8, sim time (f64),
wall clock ns (i64), tool pose (7 f64), qpos (nq f64), object poses (7 f64 each).
"""

from __future__ import annotations

import ipaddress
import json
import mmap
import os
import struct
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from molmoact_ros.geometry import Floats, Pose

SHM_DIRECTORY = Path("/dev/shm")
MAGIC = b"MOLMOSIM"
VERSION = 1
_FIXED = struct.Struct("<8sII")
_SEQUENCE = struct.Struct("<Q")
_CHECK = struct.Struct("<II")
_SEQUENCE_AT = _FIXED.size
_CHECK_AT = _SEQUENCE_AT + _SEQUENCE.size
_PAYLOAD_AT = _CHECK_AT + _CHECK.size
_PREFIX = struct.Struct("<II")
_STAMPS = struct.Struct("<dq")
_HEADER_ROOM = 16384
_READ_PATIENCE_S = 0.1


class SnapshotError(RuntimeError):
    """No usable snapshot; the message says what was found and what to do."""


class SnapshotStale(SnapshotError):
    """The snapshot exists but is old: the physics process stands still or is gone."""


@dataclass(frozen=True)
class SceneHeader:
    """What changes only at a reset.

    joints: MuJoCo joint name -> first address in qpos. objects: body names, in the order of
    the pose block. ``scene``: whatever the scene wants renderer and scorer to know (JSON).
    ``generation`` starts at 1 and grows by one at each reset.
    """

    host: str
    pid: int
    nq: int
    seed: int
    generation: int
    task: str | None
    objects: tuple[str, ...]
    joints: Mapping[str, int]
    scene: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """One physics step. ``qpos`` [nq] as MuJoCo orders it; poses in the base frame.

    sim_time: simulated seconds. wall_ns: CLOCK_REALTIME nanoseconds of this step.
    tcp: true tool centre (hand frame + 0.1034 m). objects: truth, for scoring only.
    """

    sequence: int
    sim_time: float
    wall_ns: int
    qpos: Floats
    tcp: Pose
    objects: Mapping[str, Pose]
    header: SceneHeader

    @property
    def generation(self) -> int:
        return self.header.generation

    @property
    def age(self) -> float:
        """Seconds of wall time since this step."""
        return (time.time_ns() - self.wall_ns) * 1e-9


def snapshot_name(host: str) -> str:
    """Name of the block of the simulator at ``host``: molmoact_sim_127_0_0_1.

    Raises ValueError unless ``host`` is a dotted IPv4 address.
    """
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ValueError(
            f"{host!r} is not an IPv4 address; pass the simulator's host, for example 127.0.0.1."
        ) from error
    return "molmoact_sim_" + str(address).replace(".", "_")


class SnapshotWriter:
    """Creates the block (replacing a dead simulator's) and publishes into it."""

    def __init__(self, name: str, nq: int, object_count: int) -> None:
        body = _STAMPS.size + 8 * (7 + nq + 7 * object_count)
        size = _PAYLOAD_AT + _PREFIX.size + _HEADER_ROOM + body
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
        fields = {**vars(header), "joints": dict(header.joints), "scene": dict(header.scene)}
        text = json.dumps(fields, separators=(",", ":")).encode()
        if len(text) > _HEADER_ROOM - 8:
            raise ValueError(
                f"the scene header has {len(text)} bytes, {_HEADER_ROOM - 8} fit; "
                "shorten SceneHeader.scene."
            )
        self._header_block = _PREFIX.pack(len(text), 0) + text + bytes(-len(text) % 8)

    def publish(self, sim_time: float, wall_ns: int, floats: Floats) -> None:
        """``floats``: tool pose [7], qpos [nq], object poses [7 each], concatenated."""
        payload = self._header_block + _STAMPS.pack(sim_time, wall_ns) + floats.tobytes()
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
        self._header_bytes = b""
        self._header: SceneHeader | None = None

    def read(self) -> Snapshot:
        """The newest snapshot. Raises SnapshotError, SnapshotStale."""
        fresh_map = self._map is None
        if self._map is None:
            self._map = self._attach()
        snapshot = self._parse(*self._copy(self._map))
        if snapshot.age > self._stale_after and not fresh_map:
            # A restarted simulator has a new block under the same name.
            self.close()
            self._map = self._attach()
            snapshot = self._parse(*self._copy(self._map))
        if snapshot.age > self._stale_after:
            raise SnapshotStale(
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

    def _parse(self, sequence: int, payload: bytes) -> Snapshot:
        length = _PREFIX.unpack_from(payload)[0]
        text = payload[_PREFIX.size : _PREFIX.size + length]
        if self._header is None or text != self._header_bytes:
            fields = json.loads(text)
            self._header = SceneHeader(**{**fields, "objects": tuple(fields["objects"])})
            self._header_bytes = text
        header = self._header
        at = _PREFIX.size + length + (-length % 8)
        sim_time, wall_ns = _STAMPS.unpack_from(payload, at)
        floats = np.frombuffer(payload, dtype=np.float64, offset=at + _STAMPS.size)
        tcp, qpos, rest = floats[:7], floats[7 : 7 + header.nq], floats[7 + header.nq :]
        poses = rest.reshape(len(header.objects), 7)
        objects = {n: Pose(p[:3], p[3:]) for n, p in zip(header.objects, poses, strict=True)}
        return Snapshot(
            sequence, sim_time, wall_ns, qpos, Pose(tcp[:3], tcp[3:]), objects, header
        )
