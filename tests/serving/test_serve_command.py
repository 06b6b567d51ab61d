"""``molmoact serve`` as a person starts it: on a machine without ROS, with a random small model."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.policy.remote import RemotePolicy
from molmoact_ros.policy.startup_checks import RobotDescription
from molmoact_ros.serving.command import add_arguments, run

SERVE = """
import argparse, sys
BLOCKED = ("rclpy", "molmoact_msgs", "sensor_msgs", "std_msgs", "cv_bridge", "mujoco", "franky")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
from molmoact_ros.serving.command import add_arguments, run
import molmoact_ros.policy.remote
parser = argparse.ArgumentParser()
add_arguments(parser)
status = run(parser.parse_args())
assert not set(BLOCKED) & set(sys.modules)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=1)
    return folder


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """The process, its port, and what it said until it listened."""
    command = [sys.executable, "-c", SERVE, *arguments, "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert child.stderr is not None
    said, port = "", None
    try:
        for line in child.stderr:
            said += line
            if port := re.search(r"listening at ws://[\d.]+:(\d+)", line):
                break
        assert port, said
        yield child, int(port[1]), said
    finally:
        child.kill()
        child.wait(10.0)
        child.stderr.close()


def never() -> bool:
    return False


def test_a_model_thinks_the_same_over_the_wire_without_ros(nano: Path) -> None:
    """The served numbers are those of the model in this process, and its origin is said."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    seen = Observation(1.7e9, (noise[0], noise[1]), "pick up the cube")
    drawn = np.array([[10, 20], [200, 100]], np.float32)
    here = MolmoActPolicy(nano)
    with serving("--model", str(nano)) as (child, port, said):
        assert "RANDOM" in said
        health = urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10.0)
        assert health.status == 200
        robot = RobotDescription(unnorm_key="molmoact_nano", image_sizes=((64, 48),) * 2)
        policy = RemotePolicy(f"ws://127.0.0.1:{port}", robot=robot, timeout=60.0)
        try:
            policy.reset("pick up the cube")
            assert "RANDOM" in policy.description
            kinds: list[str] = []
            there = policy.think_streaming(seen, never, lambda part: kinds.append(part.kind))
            local = here.think(seen, never)
            assert there.text == local.text
            assert np.array_equal(there.actions, local.actions)
            assert np.array_equal(there.depth, local.depth)
            assert np.array_equal(there.trace, local.trace)
            assert kinds == ["depth", "trace", *["row"] * 8]
            assert {"prefill", "network", "total"} <= set(there.timings)
            steered = Observation(seen.stamp, seen.images, seen.instruction, steering=drawn)
            steered_there = policy.think(steered, never)
            assert steered_there.steered and steered_there.depth is None
            assert np.array_equal(steered_there.actions, here.think(steered, never).actions)
        finally:
            policy.close()
        child.send_signal(signal.SIGTERM)
        assert child.wait(20.0) == 0


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "lets other machines use this policy, and no token is set"),
        (("--token", "short"), "at least 16"),
        (("--port", "70000"), "use 0 to 65535"),
        (("--unnorm-key", "other"), "'other'"),
        (("--images", "0"), "at least one camera"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(
    nano: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert run(parsed("--model", str(nano), *arguments)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("molmoact serve: ") and words in said


def test_a_folder_without_a_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parsed("--model", str(tmp_path / "nothing"))) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_taken_port_is_named(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(parsed("--model", str(nano), "--port", port)) == 2
    assert "choose another port with --port" in capsys.readouterr().err
