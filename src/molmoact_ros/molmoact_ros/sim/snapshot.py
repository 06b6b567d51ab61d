"""What the physics process tells others: one step of the world, and its bytes.

Payload, little-endian: header length (u32) zero (u32), JSON header padded to 8, sim time
(f64), wall clock ns (i64), tool pose (7 f64), qpos (nq f64), object poses (7 f64 each).
"""

from __future__ import annotations

import ipaddress
import json
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molmoact_ros.geometry import Floats, Pose

HEADER_ROOM = 16384
_PREFIX = struct.Struct("<II")
_STAMPS = struct.Struct("<dq")


class SnapshotError(RuntimeError):
    """No usable snapshot; the message says what was found and what to do."""


class SnapshotStaleError(SnapshotError):
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


def payload_size(nq: int, object_count: int) -> int:
    """Most bytes a payload can take."""
    return _PREFIX.size + HEADER_ROOM + _STAMPS.size + 8 * (7 + nq + 7 * object_count)


def encode_header(header: SceneHeader) -> bytes:
    """The first part of a payload. ValueError when ``scene`` is too long."""
    fields = {**vars(header), "joints": dict(header.joints), "scene": dict(header.scene)}
    text = json.dumps(fields, separators=(",", ":")).encode()
    if len(text) > HEADER_ROOM - 8:
        raise ValueError(
            f"the scene header has {len(text)} bytes, {HEADER_ROOM - 8} fit; "
            "shorten SceneHeader.scene."
        )
    return _PREFIX.pack(len(text), 0) + text + bytes(-len(text) % 8)


def encode_step(sim_time: float, wall_ns: int, floats: Floats) -> bytes:
    """The rest of a payload. ``floats``: tool pose, qpos, object poses, one after another."""
    return _STAMPS.pack(sim_time, wall_ns) + floats.tobytes()


class PayloadDecoder:
    """Bytes to Snapshot; parses the header only when it changed."""

    def __init__(self) -> None:
        self._text = b""
        self._header: SceneHeader | None = None

    def decode(self, sequence: int, payload: bytes) -> Snapshot:
        length = _PREFIX.unpack_from(payload)[0]
        text = payload[_PREFIX.size : _PREFIX.size + length]
        if self._header is None or text != self._text:
            fields = json.loads(text)
            self._header = SceneHeader(**{**fields, "objects": tuple(fields["objects"])})
            self._text = text
        header = self._header
        at = _PREFIX.size + length + (-length % 8)
        sim_time, wall_ns = _STAMPS.unpack_from(payload, at)
        floats = np.frombuffer(payload, dtype=np.float64, offset=at + _STAMPS.size)
        tcp, qpos, rest = floats[:7], floats[7 : 7 + header.nq], floats[7 + header.nq :]
        poses = rest.reshape(len(header.objects), 7)
        objects = {n: Pose(p[:3], p[3:]) for n, p in zip(header.objects, poses, strict=True)}
        return Snapshot(sequence, sim_time, wall_ns, qpos, Pose(tcp[:3], tcp[3:]), objects, header)
