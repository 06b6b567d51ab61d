"""Processes of a set-up: output is kept, deaths are noticed, nothing is left behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from molmoact_ros.supervisor import ProcessSpec, Supervisor


def script(name: str, code: str, **options: bool) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), **options)


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_lines_reach_the_listener_and_the_log(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    supervisor = Supervisor(
        [script("a", "print('hello')")], tmp_path, lambda n, t: lines.append((n, t))
    )
    supervisor.start()
    assert eventually(lambda: ("a", "hello") in lines)
    supervisor.stop()
    assert (tmp_path / "a.log").read_text() == "hello\n"


def test_a_death_is_reported_once_with_its_code(tmp_path: Path) -> None:
    supervisor = Supervisor([script("a", "raise SystemExit(7)")], tmp_path, lambda n, t: None)
    supervisor.start()
    seen: list[int] = []
    assert eventually(lambda: bool(seen.extend(c for _, c in supervisor.deaths()) or seen))
    assert seen == [7] and supervisor.deaths() == []


def test_a_respawned_process_runs_again(tmp_path: Path) -> None:
    lines: list[str] = []
    spec = script("a", "print('up')", respawn=True)
    supervisor = Supervisor([spec], tmp_path, lambda n, t: lines.append(t))
    supervisor.start()
    assert eventually(lambda: bool(supervisor.deaths()) or len(lines) > 1)
    assert eventually(lambda: len(lines) >= 2)
    supervisor.stop()


def test_stop_ends_even_what_ignores_signals_and_its_children(tmp_path: Path) -> None:
    """A simulator left behind would hold its port and fail the next start."""
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )
    lines: list[str] = []
    supervisor = Supervisor([script("deaf", code)], tmp_path, lambda n, t: lines.append(t))
    supervisor.start()
    assert eventually(lambda: bool(lines))
    pid, child = supervisor.pid("deaf"), int(lines[0])
    supervisor.stop()
    assert eventually(lambda: not _alive(pid) and not _alive(child))


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
    finally:
        os.sched_yield()


def test_a_process_with_a_core_stays_on_it(tmp_path: Path) -> None:
    lines: list[str] = []
    core = max(os.sched_getaffinity(0))
    code = "import os, time; time.sleep(0.5); print(os.sched_getaffinity(0))"
    spec = ProcessSpec("a", (sys.executable, "-c", code), core=core)
    supervisor = Supervisor([spec], tmp_path, lambda name, line: lines.append(line))
    supervisor.start()
    assert eventually(lambda: lines == [str({core})]), lines
    supervisor.stop()
