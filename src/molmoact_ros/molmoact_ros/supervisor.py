"""Runs the processes of a set-up on one machine, the way ``ros2 launch`` would.

Each process gets a session of its own, a log file, and a line-by-line listener. Stopping is
SIGTERM, then SIGKILL, last started first; nothing is left behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Not SIGINT: a Python process that is still importing answers it with a traceback.
STOP_STAGES = ((signal.SIGTERM, 8.0), (signal.SIGKILL, 3.0))
"""Signal and seconds to wait after it."""


@dataclass(frozen=True)
class ProcessSpec:
    """name for messages; argv; extra environment; respawn after a death; critical: the set-up
    is useless without it; core: the only one its threads may use, None any."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    respawn: bool = False
    critical: bool = True
    core: int | None = None


class Supervisor:
    """Starts, watches and stops processes. ``on_line(name, line)`` gets all output."""

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        log_dir: Path,
        on_line: Callable[[str, str], None],
    ) -> None:
        self._specs = tuple(specs)
        self._log_dir = log_dir
        self._on_line = on_line
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._reported: set[str] = set()

    def start(self) -> None:
        """Start all, in order. Raises OSError when a program does not exist."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for spec in self._specs:
            self._launch(spec)

    def deaths(self) -> list[tuple[ProcessSpec, int]]:
        """Processes that ended since the last call, with exit codes; respawns those marked so."""
        found = []
        for spec in self._specs:
            process = self._processes.get(spec.name)
            if process is None or process.poll() is None or spec.name in self._reported:
                continue
            found.append((spec, int(process.returncode)))
            if spec.respawn:
                self._launch(spec)
            else:
                self._reported.add(spec.name)
        return found

    def pid(self, name: str) -> int:
        """Process id of ``name``. Raises KeyError when it was never started."""
        return self._processes[name].pid

    def stop(self) -> None:
        for signum, patience in STOP_STAGES:
            alive = [p for p in reversed(self._processes.values()) if p.poll() is None]
            if not alive:
                return
            for process in alive:
                _signal_group(process, signum)
            deadline = time.monotonic() + patience
            for process in alive:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue

    def _launch(self, spec: ProcessSpec) -> None:
        process = subprocess.Popen(
            spec.argv,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **spec.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C reaches the terminal's whole group; children are stopped by us, in order.
            start_new_session=True,
        )
        self._processes[spec.name] = process
        if spec.core is not None:
            with contextlib.suppress(OSError):  # it has ended, or may not be moved
                os.sched_setaffinity(process.pid, {spec.core})
        threading.Thread(target=self._pump, args=(spec.name, process), daemon=True).start()

    def _pump(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with (self._log_dir / f"{name}.log").open("a", encoding="utf-8") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                self._on_line(name, line.rstrip("\n"))


def _signal_group(process: subprocess.Popen[str], signum: int) -> None:
    try:
        os.killpg(process.pid, signum)
    except ProcessLookupError:
        return
