"""``molmoact random-checkpoint``: a folder that loads, and never over something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from molmoact_ros.cli import main
from molmoact_ros.model.checkpoint import load_checkpoint
from molmoact_ros.model.nano import random_nano


def test_nano_is_that_of_the_simulation(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "nano"
    assert main(["random-checkpoint", "--config", "nano", "--seed", "3", "--out", str(out)]) == 0
    loaded, expected = load_checkpoint(out).model.state_dict(), random_nano(3).state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    assert "they have learned nothing" in capsys.readouterr().out


@pytest.mark.parametrize("config", ["small-d", "small-o"])
def test_small_sizes_are_written_in_shards(config: str, tmp_path: Path) -> None:
    out = tmp_path / "small"
    arguments = ["random-checkpoint", "--config", config, "--out", str(out), "--shard-gb", "0.01"]
    assert main([*arguments, "--dtype", "float32"]) == 0
    assert len(list(out.glob("model-*-of-*.safetensors"))) > 1
    assert load_checkpoint(out, dtype=None).model.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "nano"], "is not empty"),
        (["--config", "small-d", "--seed", "-1"], "must not be negative"),
        (["--config", "small-d", "--shard-gb", "0"], "must be positive"),
        (["--config", "small-d", "--tokenizer", "x"], "fits the 7b sizes only"),
        (["--config", "nano", "--dtype", "bfloat16"], "made for a CPU"),
        (["--config", "7b-d", "--tokenizer", "/no/such"], "not the base vocabulary"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_sentence(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    if "not empty" in words:
        out.mkdir()
        (out / "precious.txt").write_text("data")
    assert main(["random-checkpoint", *arguments, "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists() or [path.name for path in out.iterdir()] == ["precious.txt"]
