"""What a training is started with: every choice of the node is one of the command."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molmoact_ros.train.command import add_arguments
from molmoact_ros.train.launch import Launch
from molmoact_ros.train.recipe import BadRecipe


def read(launch: Launch) -> argparse.Namespace:
    """As the command understands it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(launch.arguments)


def test_one_data_set_and_nothing_else_is_said_as_it_is() -> None:
    launch = Launch("/data/a", "/run", base="/7b")
    values = read(launch)
    assert [str(path) for path in values.data] == ["/data/a"]
    assert (values.weights, values.web, values.device) == (None, None, "")
    assert launch.command == (sys.executable, "-m", "molmoact_ros.cli", "train")


def test_every_choice_reaches_the_command() -> None:
    launch = Launch(
        "/data/a:/data/b c", "/run", base="/7b", fields=("steps=5",), export_to="/out",
        weights="0.9, 0.1", web="/web", device="cuda", processes=4, options="--unchecked",
    )  # fmt: skip
    values = read(launch)
    assert [str(path) for path in values.data] == ["/data/a", "/data/b c"]
    assert values.weights == [0.9, 0.1] and values.device == "cuda" and values.unchecked
    assert (str(values.web), str(values.out), str(values.export)) == ("/web", "/run", "/out")
    assert values.fields == ["steps=5"]
    assert launch.command[1:4] == ("-m", "molmoact_ros.train.torchrun", "--nproc-per-node=4")
    assert launch.command[4:] == ("--shutdown-timeout=120", "-m", "molmoact_ros.cli", "train")


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"weights": "0.9 0.1"}, "2 shares for 1 data sets"),
        ({"weights": "much"}, "numbers"),
        ({"device": "tpu"}, "use cpu, cuda"),
        ({"processes": 0}, "1 to 64"),
        ({"data": ":"}, "folders"),
        ({"options": "'--unchecked"}, "options"),
        ({"base": ""}, "either base"),
    ],
)
def test_what_cannot_be_started_is_refused(change: dict[str, object], remedy: str) -> None:
    good: dict[str, object] = {"data": "/data", "out": "/run", "base": "/7b"}
    with pytest.raises(BadRecipe, match=remedy):
        Launch(**{**good, **change})  # type: ignore[arg-type]


SAVES = """
import os, pathlib, signal, sys, time
def save(*_):
    time.sleep(0.3)
    pathlib.Path(sys.argv[1], "saved" + os.environ["RANK"]).touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "ready" + os.environ["RANK"]).touch()
time.sleep(60)
"""
REFUSES = (
    r"import sys; sys.stderr.write('molmoact train: no such data; label it first\n'); sys.exit(1)"
)
"""A line at once, as the command writes it: a message given to ``exit`` is written in two parts,
and those of two processes can mix."""


def started(folder: Path, script: str) -> subprocess.Popen[str]:
    """Two processes of ``script``."""
    (folder / "script.py").write_text(script)
    words = ["-m", "molmoact_ros.train.torchrun", "--nproc-per-node=2", str(folder / "script.py")]
    return subprocess.Popen(
        [sys.executable, *words, str(folder)], stderr=subprocess.PIPE, text=True
    )


def test_many_processes_end_in_order_and_are_waited_for(tmp_path: Path) -> None:
    run = started(tmp_path, SAVES)
    for _ in range(1200):
        if len(list(tmp_path.glob("ready*"))) == 2:
            break
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 0
    assert {path.name for path in tmp_path.glob("saved*")} == {"saved0", "saved1"}


def test_the_last_words_of_many_processes_are_their_own(tmp_path: Path) -> None:
    run = started(tmp_path, REFUSES)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert said.strip().splitlines()[-1] == "molmoact train: no such data; label it first"
