"""./run: the one command a stranger types."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [ROOT / "run", ROOT / ".ci" / "run", *sorted((ROOT / "tools").glob("*.sh"))]


def _run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "run"), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_are_valid_shell(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_are_executable() -> None:
    """git keeps the bit; without it the README's first command fails."""
    for name in ("run", ".ci/run", "tools/build_messages.sh"):
        assert os.access(ROOT / name, os.X_OK), name


def test_help_lists_every_command() -> None:
    text = _run("help").stdout
    cases = re.findall(r"^  ([a-z]+)\)", (ROOT / "run").read_text(), flags=re.MULTILINE)
    assert set(cases) >= {"setup", "demo", "test", "lint", "shell", "env"}
    assert all(f"./run {name}" in text for name in cases)


def test_an_unknown_command_is_an_error() -> None:
    """A misspelt command in CI must not look like success."""
    done = _run("tset")
    assert done.returncode == 2
    assert "no such command" in done.stderr


def test_without_an_environment_it_says_what_to_do(tmp_path: Path) -> None:
    done = _run("shell", "true", MOLMOACT_VENV=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "./run setup" in done.stderr


def test_shell_and_env_give_the_same_environment() -> None:
    """Two ways into two environments would make a test pass in one only."""
    exported = dict(re.findall(r"^export (\w+)=(.*)$", _run("env").stdout, flags=re.MULTILINE))
    assert exported["PYTHONPATH"].startswith(str(ROOT / "src" / "molmoact_ros"))
    for name in ("AMENT_PREFIX_PATH", "RMW_IMPLEMENTATION", "VIRTUAL_ENV"):
        inside = _run("shell", "printenv", name).stdout.strip()
        assert inside == exported[name], name


def test_shell_passes_the_exit_status_and_the_words() -> None:
    assert _run("shell", "bash", "-c", "exit 7").returncode == 7
    done = _run("shell", "python", "-c", "import sys; print(sys.argv[1:])", "a b", "*")
    assert done.stdout.strip() == "['a b', '*']"


def _stub(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_without_root_it_names_the_packages(tmp_path: Path) -> None:
    """A person without sudo needs the line to send to an administrator, not a pip error later."""
    stubs = tmp_path / "bin"
    _stub(stubs, "dpkg-query", "exit 1")
    _stub(stubs, "id", "echo 1000")
    _stub(stubs, "sudo", "exit 1")
    done = _run("setup", PATH=f"{stubs}:{os.environ['PATH']}", MOLMOACT_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "apt-get install -y --no-install-recommends g++ make libegl1" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_failing_step_shows_its_output(tmp_path: Path) -> None:
    """The reason must be on the screen: the log of a CI machine is gone afterwards."""
    stubs = tmp_path / "bin"
    _stub(stubs, "dpkg-query", "exit 1")
    _stub(stubs, "id", "echo 0")
    _stub(stubs, "apt-get", 'echo "E: no route to the mirror ($*)"; exit 100')
    done = _run("setup", PATH=f"{stubs}:{os.environ['PATH']}", MOLMOACT_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "E: no route to the mirror" in done.stderr
    assert re.search(r"Step .* failed; the whole output is in .*log/setup-1.txt", done.stderr)
