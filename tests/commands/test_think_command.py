"""``molmoact think``: pictures and words in; a thought on the screen and in three files out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molmoact_ros.cli import main
from molmoact_ros.commands import think
from molmoact_ros.model.codebook import PACKAGE_WEIGHTS
from molmoact_ros.model.depth_weights import load_depth_vqvae, save_depth_vqvae
from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.model.presets import PRESETS
from molmoact_ros.model.random_weights import save_random_checkpoint
from molmoact_ros.policy.base import Observation
from molmoact_ros.policy.molmoact import MolmoActPolicy
from molmoact_ros.reasoning.overlay import draw_trace

torch.set_num_threads(1)
WORDS = "put the red cube on the plate"


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    save_random_nano(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate(("ext.png", "wrist.png")):
        noise = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return folder / "ext.png", folder / "wrist.png"


@pytest.fixture(scope="module")
def vae_final(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VQ-VAE that is not this package's."""
    path = tmp_path_factory.mktemp("vae") / "vae-final.safetensors"
    save_depth_vqvae(load_depth_vqvae(PACKAGE_WEIGHTS), path, {"made": "elsewhere"})
    return path


def thinking(model: Path, out: Path, *more: object) -> int:
    arguments = ["think", "--model", model, "--instruction", WORDS, "--out", out, *more]
    return main([str(argument) for argument in [*arguments, "--device", "cpu"]])


def test_two_pictures_give_a_thought_three_files_and_words(
    nano: Path,
    pictures: tuple[Path, Path],
    vae_final: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ("--image", pictures[0], "--image", pictures[1], "--depth-weights", vae_final)
    assert thinking(nano, tmp_path, *given) == 0
    table = json.loads((tmp_path / "thought.json").read_text())
    views = tuple(np.asarray(Image.open(path)) for path in pictures)
    thought = MolmoActPolicy(nano).think(Observation(0.0, views, WORDS), lambda: False)
    assert table["text"] == thought.text
    assert table["depth_codes"] == thought.depth.tolist()
    assert table["trace"] == thought.trace.tolist()
    assert table["actions"] == thought.actions.tolist()
    assert table["action_units"] == ["m", "m", "m", "rad", "rad", "rad", "1 open, 0 closed"]
    assert "first image" in table["question"] and WORDS in table["question"]
    assert {"load", "images", "prefill", "depth", "trace", "actions", "total"} == set(
        table["seconds"]
    )
    assert table["tokens"]["depth"] >= 100
    for name in ("overlay.png", "depth.png"):
        assert np.asarray(Image.open(tmp_path / name)).shape == (240, 320, 3)
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "overlay.png")), views[0])
    said = capsys.readouterr().out
    assert "RANDOM" in said
    assert "Depth codes (10 x 10 of 128" in said
    grid = [line.split() for line in said.splitlines() if len(line.split()) == 10]
    assert [[int(code) for code in line] for line in grid if line[0].isdigit()] == (
        table["depth_codes"]
    )
    for words in ("Trace of the gripper", "dx mm", "roll deg", "sum", "ms each", "thought.json"):
        assert words in said
    rows = [line for line in said.splitlines() if line.rstrip().endswith(("open", "closed"))]
    assert len(rows) == 8


def test_depth_is_not_drawn_with_a_foreign_vqvae(
    nano: Path, pictures: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A checkpoint without a card writes codes of vae-final.pt, which our VQ-VAE cannot read."""
    assert thinking(nano, tmp_path, "--image", pictures[0]) == 0
    assert len(json.loads((tmp_path / "thought.json").read_text())["depth_codes"]) == 10
    assert not (tmp_path / "depth.png").exists()
    assert "vae-final.pt" in caplog.text


def test_one_picture_goes_in_flat_and_asks_the_one_picture_question(
    nano: Path, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    """As a nested list it would be announced as "Image 1", which the model was not taught."""
    assert thinking(nano, tmp_path, "--image", pictures[0]) == 0
    table = json.loads((tmp_path / "thought.json").read_text())
    assert table["text"].startswith(" The depth map of the image is")
    assert "what is the depth map for this image?" in table["question"]
    assert len(table["images"]) == 1


def test_a_drawn_trace_is_followed_and_shown_as_the_model_saw_it(
    nano: Path, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    drawn = "[[30, 200], [120, 90], [250, 10]]"
    status = thinking(nano, tmp_path, "--image", pictures[0], "--trace", drawn)
    assert status == 0
    table = json.loads((tmp_path / "thought.json").read_text())
    assert table["steering"] == json.loads(drawn)
    assert "is annotated on the image" in table["question"]
    assert table["depth_codes"] is None and table["trace"] == []
    assert len(table["actions"]) == 8
    first = np.asarray(Image.open(pictures[0]))
    expected = draw_trace(first, json.loads(drawn))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "overlay.png")), expected)
    assert not (tmp_path / "depth.png").exists()


def test_a_refused_answer_keeps_its_text(
    nano: Path, pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the grammar random weights write nonsense; it must be seen, not acted on."""
    status = thinking(nano, tmp_path, "--image", pictures[0], "--plain")
    assert status == think.EXIT_REFUSED
    table = json.loads((tmp_path / "thought.json").read_text())
    assert table["refused"] and table["text"] and "actions" not in table
    assert f"REFUSED: {table['refused']}" in capsys.readouterr().out
    assert not (tmp_path / "overlay.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small-d", "small-o"])
def test_both_released_layouts_think(
    name: str, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / name
    save_random_checkpoint(folder, PRESETS[name](), build_nano_tokenizer(), name)
    for number, size in enumerate(([], ["--full-size"])):
        out = tmp_path / str(number)
        assert thinking(folder, out, "--image", pictures[0], "--rows", 2, *size) == 0
        table = json.loads((out / "thought.json").read_text())
        assert len(table["actions"]) == 2 and len(table["depth_codes"]) == 10


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--image", "/no/such.png"], "/no/such.png: no readable picture"),
        (["--trace", "[[1, 2]]"], "give 2 to 5 points"),
        (["--trace", "[[1, 2], [3, 256]]"], "0..255"),
        (["--trace", "nonsense"], "--trace 'nonsense'"),
        (["--unnorm-key", "other"], "'other'"),
        (["--rows", "0"], "at least one row"),
        (["--adapter", "/no/such"], "adapter_config.json: missing"),
        (["--depth-weights", "/no/such.pt"], "No depth VQ-VAE weights"),
        (["--instruction", "{x}"], "braces"),
        (["--model", "/no/such"], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    nano: Path, pictures: tuple[Path, Path], tmp_path: Path, more: list[str], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert thinking(nano, tmp_path, "--image", pictures[0], *more) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("molmoact think: ") and words in said[-1]


def test_help_needs_no_torch_and_lists_every_option() -> None:
    parser = argparse.ArgumentParser()
    think.add_arguments(parser)
    text = parser.format_help()
    for option in ("--model", "--image", "--trace", "--unnorm-key", "--plain", "--adapter"):
        assert option in text
