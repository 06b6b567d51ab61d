"""Training a depth VQ-VAE: codebook arithmetic, going on, many processes, report, command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molmoact_ros.cli import main
from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.model.depth_vqvae import Codebook
from molmoact_ros.model.depth_weights import load_depth_vqvae
from molmoact_ros.train.codebook import revive_dead_codes, start_codebook, update_codebook
from molmoact_ros.train.depth_shards import DepthMaps, write_shard
from molmoact_ros.train.recipe import BadRecipe
from molmoact_ros.train.vqvae_recipe import PRESETS, VqVaeRecipe
from molmoact_ros.train.vqvae_report import of_maps
from molmoact_ros.train.vqvae_sheet import write_report

sys.path.insert(0, str(Path(__file__).parent))
from vqvae_helpers import SHORT, TOGETHER, ramp_maps, ramps, run_of


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_code_moves_to_the_mean_of_its_members() -> None:
    book = Codebook(2, 3)
    flat = torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    for _ in range(200):
        update_codebook(book, flat, torch.tensor([0, 0, 1]), decay=0.9)
    torch.testing.assert_close(
        book.vectors, torch.tensor([[2.0, 0.0, 0.0], [0.0, 5.0, 0.0]]), atol=1e-3, rtol=0
    )


def test_unused_codes_are_moved_onto_latents_and_used_ones_stay() -> None:
    """Without this, most of the vocabulary dies in the first minutes."""
    book = Codebook(4, 2)
    book._ema_cluster_size.copy_(torch.tensor([10.0, 10.0, 0.0, 0.001]))
    before = book.vectors.clone()
    flat = torch.full((5, 2), 7.0)
    assert revive_dead_codes(book, flat, 0.05, _rng()) == 2
    assert torch.equal(book.vectors[:2], before[:2])
    assert torch.equal(book.vectors[2:], flat[:2])
    # Revived codes are alive: the next call finds nothing to do.
    assert revive_dead_codes(book, flat, 0.05, _rng()) == 0


def test_the_codebook_starts_on_the_clusters() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    flat = centres.repeat(50, 1) + 0.1 * torch.randn(200, 2, generator=_rng())
    book = Codebook(8, 2)
    start_codebook(book, flat, _rng())
    nearest = torch.cdist(flat, book.vectors).min(1).values
    assert nearest.max() < 1.0


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ramp_maps(tmp_path_factory.mktemp("maps"))


def test_training_improves_goes_on_exactly_and_exports(maps: Path, tmp_path: Path) -> None:
    """A signal saves and ends; the same command goes on at the very next map, bit by bit."""
    whole = run_of(maps, tmp_path / "whole", SHORT)
    done = whole.run()
    assert done.finished and done.steps == len(done.losses) == 12
    assert done.losses[-1] < 0.6 * done.losses[0]

    def terminate(step: int) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    first = run_of(maps, tmp_path / "parts", SHORT).run(terminate)
    assert (first.steps, first.finished) == (7, False)
    again = run_of(maps, tmp_path / "parts", SHORT)
    rest = again.run()
    assert rest.finished and first.losses + rest.losses == done.losses
    exported = load_depth_vqvae(tmp_path / "parts" / "depth_vqvae.safetensors").state_dict()
    for name, value in whole.learner.network.state_dict().items():
        assert torch.equal(again.learner.network.state_dict()[name], value)
        if "ema" not in name:
            torch.testing.assert_close(exported[name], value, atol=2e-3, rtol=2e-3, msg=name)
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["kind"] == "look" and json.loads(lines[-1])["mse"] > 0.0
    card = (tmp_path / "whole" / "README.md").read_text()
    assert "21 depth maps" in card and "12 steps" in card and "squared error" in card


@pytest.mark.parametrize(
    ("change", "words"), [({"batch": 2}, "batch 4, now 2"), ({"edges": 1.0}, "edges")]
)
def test_a_run_of_another_recipe_is_not_continued(
    maps: Path, tmp_path: Path, change: dict[str, float], words: str
) -> None:
    short = replace(SHORT, epochs=0.2)
    run_of(maps, tmp_path, short).run()
    with pytest.raises(BadRecipe, match=words):
        run_of(maps, tmp_path, replace(short, **change))


def test_other_maps_are_not_continued_on_but_a_longer_budget_is(tmp_path: Path) -> None:
    maps, out, short = ramp_maps(tmp_path / "maps"), tmp_path / "run", replace(SHORT, epochs=0.2)
    assert run_of(maps, out, short).run().steps == 2
    assert run_of(maps, out, replace(short, epochs=0.5)).run().steps == 3
    write_shard(maps, "later", ramps(3))
    with pytest.raises(BadRecipe, match="other depth maps"):
        run_of(maps, out, short)


def test_a_run_by_minutes_ends_and_quantises(maps: Path, tmp_path: Path) -> None:
    run = run_of(maps, tmp_path, replace(SHORT, minutes=0.5 / 60, warm_up=0.3))
    done = run.run()
    assert done.finished and run.learner.quantising


@pytest.mark.slow
def test_two_processes_train_the_same_network_as_one(maps: Path, tmp_path: Path) -> None:
    """Gradients, codebook averages and revival are those of the whole batch."""
    alone = run_of(maps, tmp_path / "one", TOGETHER)
    done = alone.run()
    script = Path(__file__).parent / "one_vqvae_process.py"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    command = [sys.executable, str(script), str(maps), str(tmp_path / "two")]
    workers = [
        subprocess.Popen(
            command, env={**os.environ, **where, "RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=100)
        assert worker.returncode == 0, said[-2000:]
    together = json.loads((tmp_path / "two" / "losses.json").read_text())
    assert together == pytest.approx(done.losses, abs=1e-5)
    state = torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)
    assert alone.learner.use()["perplexity"] > 8
    # Adam turns rounding of gradients near zero into whole steps; the codebook has no such steps.
    book = alone.learner.network.codebook
    for name, value in book.state_dict().items():
        found = state["weights"][f"_vq_vae.{name}"]
        torch.testing.assert_close(found, value, atol=1e-5, rtol=1e-4, msg=name)


def test_the_paper_numbers_are_the_default() -> None:
    """Data contract, section 8: 20 epochs, 64, 1e-3, squared error, 0.25, 0.99."""
    recipe = VqVaeRecipe()
    assert (recipe.epochs, recipe.batch, recipe.learning_rate) == (20.0, 64, 1e-3)
    assert (recipe.commitment, recipe.decay) == (0.25, 0.99)
    assert (recipe.edges, recipe.scaled, recipe.revive_every) == (0.0, False, 0)
    assert recipe.rate(0, 0.0) == recipe.rate(10**6, 0.9) == 1e-3
    assert recipe.steps(10_000_000) == 3_125_000
    assert PRESETS["packaged"].edges == 2.0
    with pytest.raises(BadRecipe, match="decay is 1.5"):
        VqVaeRecipe(decay=1.5)


def test_the_report_measures_and_draws(maps: Path, tmp_path: Path) -> None:
    run = run_of(maps, tmp_path / "run", SHORT)
    run.run()
    codec = DepthCodec(run.learner.network.eval(), Path("here"))
    found = of_maps(codec, DepthMaps([maps], "held_out"), 100)
    assert found.numbers.frames == 7 and found.counts.sum() == 700
    assert found.numbers.mse == pytest.approx(
        run.learner.held_out(np.stack([DepthMaps([maps], "held_out")[i] for i in range(7)]))["mse"],
        rel=0.05,
    )  # the codec's pictures are clipped to 0..1
    assert found.numbers.mse_p5 <= found.numbers.mse <= found.numbers.mse_p95 <= found.worst.mse
    assert 1 <= found.numbers.perplexity <= found.numbers.codes_used <= 16
    write_report(tmp_path / "report", found, "mine.safetensors")
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert sum(told["code_counts"]) == 700
    assert Image.open(tmp_path / "report" / "report.png").size[0] > 1000


def test_the_command_makes_trains_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = str(ramp_maps(tmp_path / "maps"))
    out = str(tmp_path / "run")
    command = ["vqvae", "train", "--maps", maps, "--out", out, "--epochs", "0.1", "--device", "cpu"]
    assert main([*command, "--batch", "2"]) == 0
    said = capsys.readouterr().err
    assert "2 steps, done" in said and "--revive-every 20" in said
    assert main([*command, "--batch", "4"]) == 2
    assert "batch 2, now 4" in capsys.readouterr().err
    weights = ["--weights", f"{out}/depth_vqvae.safetensors"]
    assert main(["vqvae", "report", *weights, "--maps", maps, "--most", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 2
