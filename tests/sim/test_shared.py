"""The snapshot in shared memory: what a reader may rely on, whatever happens to the writer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.sim.shared import (
    SHM_DIRECTORY,
    SceneHeader,
    SnapshotError,
    SnapshotReader,
    SnapshotStaleError,
    SnapshotWriter,
    snapshot_name,
)

NQ = 9
OBJECTS = ("red_cube", "bowl")
COUNT = 7 + NQ + 7 * len(OBJECTS)


def header(generation: int = 1, seed: int = 5, scene: dict[str, object] | None = None):
    joints = {"robot0_fr3_joint1": 0}
    return SceneHeader(
        "127.0.0.1", os.getpid(), NQ, seed, generation, None, OBJECTS, joints, scene or {}
    )


def publish(writer: SnapshotWriter, value: float, wall_ns: int | None = None) -> None:
    """Every number of the block is ``value``, so that a torn read shows."""
    writer.publish(value, time.time_ns() if wall_ns is None else wall_ns, np.full(COUNT, value))


@pytest.fixture
def name() -> Iterator[str]:
    name = f"molmoact_test_{os.getpid()}"
    yield name
    (SHM_DIRECTORY / name).unlink(missing_ok=True)


@pytest.fixture
def writer(name: str) -> Iterator[SnapshotWriter]:
    writer = SnapshotWriter(name, NQ, len(OBJECTS))
    writer.describe(header())
    yield writer
    writer.close()


def test_a_reader_gets_what_was_written(writer: SnapshotWriter, name: str) -> None:
    """Every field arrives in its own place: a swapped block would put objects into qpos."""
    wall = time.time_ns()
    writer.publish(1.25, wall, np.arange(COUNT, dtype=float))
    snapshot = SnapshotReader(name).read()
    assert (snapshot.sim_time, snapshot.wall_ns) == (1.25, wall)
    assert snapshot.tcp.position.tolist() == [0, 1, 2]
    assert snapshot.tcp.quaternion.tolist() == [3, 4, 5, 6]
    assert snapshot.qpos.tolist() == list(range(7, 7 + NQ))
    assert list(snapshot.objects) == list(OBJECTS)
    bowl = 7 + NQ + 7
    assert snapshot.objects["bowl"].position.tolist() == [bowl, bowl + 1, bowl + 2]
    assert snapshot.header == header()


def test_a_reset_changes_the_header(writer: SnapshotWriter, name: str) -> None:
    """The renderer recolours when the generation grows; a cached header would hide a reset."""
    reader = SnapshotReader(name)
    publish(writer, 1.0)
    assert reader.read().generation == 1
    writer.describe(header(generation=2, seed=77, scene={"hidden": ["ball"]}))
    publish(writer, 2.0)
    after = reader.read()
    assert (after.generation, after.header.seed) == (2, 77)
    assert after.header.scene == {"hidden": ["ball"]}


def test_no_torn_snapshot_is_ever_read(writer: SnapshotWriter, name: str) -> None:
    """Half of one step and half of the next would show a bent arm in an image."""
    publish(writer, 0.0)
    done = threading.Event()

    def write() -> None:
        value = 0.0
        while not done.is_set():
            value += 1.0
            publish(writer, value)

    thread = threading.Thread(target=write)
    thread.start()
    reader, seen = SnapshotReader(name), []
    try:
        for _ in range(2000):
            snapshot = reader.read()
            numbers = {snapshot.sim_time, *snapshot.qpos, *snapshot.objects["bowl"].position}
            assert len(numbers) == 1
            seen.append(snapshot.sequence)
    finally:
        done.set()
        thread.join()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_a_snapshot_cannot_be_changed_by_its_reader(writer: SnapshotWriter, name: str) -> None:
    """The scorer's truth must not be editable through the block or the arrays."""
    publish(writer, 1.0)
    snapshot = SnapshotReader(name).read()
    with pytest.raises(ValueError, match="read-only"):
        snapshot.qpos[0] = 3.0


def test_no_simulator_is_a_clear_error(name: str) -> None:
    """The message must say how to start one, not that a file is missing."""
    with pytest.raises(SnapshotError, match=r"no simulator is running.*molmoact_ros\.sim\.server"):
        SnapshotReader(name).read()


def test_an_old_snapshot_is_refused(writer: SnapshotWriter, name: str) -> None:
    """A picture of a dead simulator is the most dangerous one: it looks fine."""
    publish(writer, 1.0, time.time_ns() - 5_000_000_000)
    with pytest.raises(SnapshotStaleError, match=r"5\.\d s old.*Restart it"):
        SnapshotReader(name).read()
    publish(writer, 2.0)
    assert SnapshotReader(name).read().sim_time == 2.0


def test_a_reader_follows_a_restarted_simulator(name: str) -> None:
    """After kill -9 and restart the same reader object must see the new block."""
    dead = SnapshotWriter(name, NQ, len(OBJECTS))
    dead.describe(header())
    publish(dead, 1.0)
    reader = SnapshotReader(name, stale_after=0.05)
    assert reader.read().sim_time == 1.0
    successor = SnapshotWriter(name, NQ, len(OBJECTS))
    successor.describe(header(seed=6))
    time.sleep(0.06)
    publish(successor, 9.0)
    snapshot = reader.read()
    assert (snapshot.sim_time, snapshot.header.seed) == (9.0, 6)
    dead.close()  # a late ending of the old process must not take the new block away
    assert (SHM_DIRECTORY / name).exists()
    successor.close()
    assert not (SHM_DIRECTORY / name).exists()


def test_a_writer_killed_in_the_middle_is_an_error_not_a_hang(
    writer: SnapshotWriter, name: str
) -> None:
    """The sequence number stays odd for ever; a reader that waits for it never returns."""
    publish(writer, 1.0)
    writer._map[16] = 3
    with pytest.raises(SnapshotError, match="no complete snapshot"):
        SnapshotReader(name).read()


def test_a_foreign_file_is_refused(name: str) -> None:
    """Anybody may create a file of that name; its bytes must not be taken for a scene."""
    Path(SHM_DIRECTORY / name).write_bytes(b"something else" * 10)
    with pytest.raises(SnapshotError, match="not a snapshot of version"):
        SnapshotReader(name).read()


def test_an_ending_reader_process_leaves_the_block(writer: SnapshotWriter, name: str) -> None:
    """multiprocessing's resource tracker would unlink the block when the renderer ends."""
    publish(writer, 1.0)
    code = (
        "from molmoact_ros.sim.shared import SnapshotReader;"
        f"print(SnapshotReader({name!r}, stale_after=1e9).read().sim_time)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("1.0\n", "")
    assert (SHM_DIRECTORY / name).exists()


def test_a_scene_that_does_not_fit_is_refused(writer: SnapshotWriter) -> None:
    """A longer header would overwrite the numbers behind it."""
    with pytest.raises(ValueError, match=r"shorten SceneHeader\.scene"):
        writer.describe(header(scene={"text": "x" * 20_000}))


def test_names_come_from_addresses() -> None:
    """Server, renderer and scorer meet by this name alone."""
    assert snapshot_name("127.0.1.5") == "molmoact_sim_127_0_1_5"
    with pytest.raises(ValueError, match="IPv4"):
        snapshot_name("../etc/passwd")
