"""Starts the simulated arm in a process of its own and waits until it answers."""

from __future__ import annotations

import itertools
import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO

_COUNTER = itertools.count(1)


class SimProcessError(RuntimeError):
    """The simulator did not come up; the message holds what it said."""


def own_host() -> str:
    """A loopback address no other process picks: made of this process's id and a counter.

    For tests and benchmarks that run side by side. Raises RuntimeError after 254 calls.
    """
    number, pid = next(_COUNTER), os.getpid()
    if number > 254:
        raise RuntimeError("254 simulators from one process; reuse addresses that are free again.")
    return f"127.{64 + pid // 256 % 64}.{pid % 256}.{number}"


@dataclass
class SimProcess:
    """A running ``python -m molmoact_ros.sim.server``; a context manager that stops it."""

    host: str
    process: subprocess.Popen[str]
    errors: IO[str]

    @staticmethod
    def start(
        host: str | None = None, seed: int = 0, task: str | None = None, patience: float = 60.0
    ) -> SimProcess:
        """Start at ``host`` (default: an address of its own) and wait ``patience`` seconds.

        Raises SimProcessError when it does not get ready.
        """
        host = host or own_host()
        command = [sys.executable, "-m", "molmoact_ros.sim.server", "--host", host]
        command += ["--seed", str(seed)] + ([] if task is None else ["--task", task])
        # A file, not a pipe: nobody reads a pipe later, and a full one would stop the physics.
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  lives as long as the process
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        sim = SimProcess(host, process, errors)
        if not sim._wait_for_ready(patience):
            sim.kill()
            raise SimProcessError(
                f"the simulator at {host} did not get ready within {patience:.0f} s. "
                f"It said: {sim.said() or 'nothing'}"
            )
        return sim

    def said(self) -> str:
        """Everything on its standard error so far."""
        self.errors.seek(0)
        return self.errors.read().strip()

    def stop(self, patience: float = 20.0) -> int:
        """SIGTERM and wait; returns the exit status. After ``patience`` seconds SIGKILL."""
        self.process.terminate()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> SimProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_for_ready(self, patience: float) -> bool:
        output, deadline = self.process.stdout, time.monotonic() + patience
        if output is None:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if selector.select(left):
                    line = output.readline()
                    if not line or line.startswith("READY"):
                        return bool(line)
        return False
