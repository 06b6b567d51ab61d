"""What ``molmoact train`` refuses: one line that says what to do, exit status 2, no traceback."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from molmoact_ros.cli import main
from molmoact_ros.data import gate_record
from molmoact_ros.data.dataset import EPISODES
from molmoact_ros.train import command
from molmoact_ros.train.loop import Outcome
from molmoact_ros.train.processes import World

sys.path.insert(0, str(Path(__file__).parent))
from train_helpers import small_recipe, source_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    source_of(folder, small_recipe())
    return folder


class Train:
    """The command on the module's data; ``said`` is what it wrote last."""

    def __init__(self, made: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._made, self._out, self._capsys = made, out, capsys
        self.data = made / "data"

    def __call__(self, *more: str, base: Sequence[str] = (), preset: str = "nano-cpu") -> int:
        words = ["train", "--data", str(self.data), "--out", str(self._out), "--device", "cpu"]
        start = base or ("--base", str(self._made / "base"))
        status = main([*words, *start, "--preset", preset, "--set", "look_every=0", *more])
        self.said = self._capsys.readouterr().err
        return status


@pytest.fixture
def train(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    return Train(made, tmp_path / "run", capsys)


@pytest.mark.parametrize(
    ("more", "remedy"),
    [
        (["--set", "foo"], "FIELD=VALUE"),
        (["--set", "foo=1"], "known:"),
        (["--set", "crop=0.9"], "--set crop=1"),
        (["--web", "pictures"], "web=0.05"),
        (["--weights", "1", "2"], "1 data sets"),
        (["--size", "nano"], "either --base"),
    ],
)
def test_a_wrong_order_is_refused_in_one_line(train: Train, more: list[str], remedy: str) -> None:
    assert train("--unchecked", *more) == 2
    assert remedy in train.said and train.said.count("\n") == 1
    assert train.said.startswith("molmoact train: ")


def test_a_small_network_is_trained_in_full(train: Train) -> None:
    start = ("--size", "nano")
    assert train("--unchecked", "--set", "method=lora", base=start) == 2
    assert "trained in full" in train.said


def test_a_batch_that_cannot_be_shared_is_refused(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(0, 3, torch.device("cpu"))
    monkeypatch.setattr(command, "join_world", lambda device: world)
    assert train("--unchecked") == 2
    assert "multiple of the number of processes" in train.said and train.said.count("\n") == 1


def test_a_set_without_a_tick_to_train_on_is_refused(train: Train, tmp_path: Path) -> None:
    train.data = tmp_path / "data"
    source_of(tmp_path, small_recipe(), 1)
    listed = json.loads((train.data / EPISODES).read_text())
    changed = [{**entry, "split": "held_out"} for entry in listed]
    (train.data / EPISODES).write_text(json.dumps(changed))
    assert train("--unchecked", "--set", "compile=false") == 2
    assert "no tick to train on" in train.said and "Traceback" not in train.said


def test_what_the_gate_finds_refuses_the_run_unless_told_otherwise(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(
        gate_record, "gate_before_training", lambda f: asked.append(f) or ["bins: all in one"]
    )
    monkeypatch.setattr(
        command.Trainer, "run", lambda self: Outcome(1, True, (), self.out / "step-1")
    )
    assert train() == 2
    assert "bins: all in one" in train.said and "--unchecked" in train.said
    assert asked == [train.data]
    assert train("--unchecked") == 0 and asked == [train.data]
    monkeypatch.setattr(gate_record, "gate_before_training", lambda folder: [])
    assert train() == 0


def test_missing_web_pictures_are_told(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's 5 % would otherwise be given to the other kinds without a word."""
    monkeypatch.setattr(
        command.Trainer, "run", lambda self: Outcome(1, True, (), self.out / "step-1")
    )
    more = ("--unchecked", "--set", "mode=replicate", "--set", "compile=false")
    assert train(*more, preset="pre-train") == 0
    assert "WARNING: 5 % of the samples" in train.said and "--web" in train.said
    assert train(*more, "--set", "web=0", preset="pre-train") == 0
    assert "WARNING" not in train.said
