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
