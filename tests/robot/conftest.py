"""A simulated FR3 of its own for this folder: the real franky speaks to it over loopback."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "molmoact_ros"


@pytest.fixture(scope="session")
def sim_host() -> Iterator[str]:
    """Loopback address of a running simulator."""
    host = f"127.0.{1 + os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "molmoact_ros.sim.server", "--host", host],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(
        target=lambda stream: [lines.put(line) for line in stream],
        args=(process.stdout,),
        daemon=True,
    ).start()
    try:
        assert lines.get(timeout=60.0).startswith("READY"), "the simulator did not start"
        yield host
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float], None]:
    """Wait until a condition holds; the limit only says when to give up."""

    def wait(condition: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.02)

    return wait
