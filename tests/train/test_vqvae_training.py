"""The VQ-VAE trainer: its codebook arithmetic, resuming, and data files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from molmoact_ros.model.depth_vqvae import Codebook, VqVaeShape
from molmoact_ros.model.depth_weights import load_depth_vqvae
from molmoact_ros.train import depth_maps
from molmoact_ros.train.codebook import revive_dead_codes, start_codebook, update_codebook
from molmoact_ros.train.vqvae import VqVaeRecipe, VqVaeTrainer

SMALL = VqVaeShape(width=4, codes=16, code_size=16)


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


@pytest.fixture
def pictures() -> np.ndarray:
    """Ramps in different directions: something to learn in a few steps."""
    y, x = np.mgrid[0:320, 0:320] / 319.0
    ramps = [x, y, 1 - x, 1 - y, (x + y) / 2, (1 - x + y) / 2]
    return (np.array(ramps) * 255).astype(np.uint8)


def test_training_improves_resumes_and_exports(pictures: np.ndarray, tmp_path: Path) -> None:
    recipe = VqVaeRecipe(batch=4, minutes=10.0, learning_rate=0.01)
    trainer = VqVaeTrainer(pictures, recipe, tmp_path, SMALL)

    def mse(text: str) -> float:
        return float(text.split()[1])

    first = mse(trainer.train_step())
    for _ in range(15):
        trainer.train_step()
    trainer.start_quantising()
    for _ in range(15):
        last = trainer.train_step()
    assert mse(last) < 0.6 * first
    assert "codes in batch" in last
    trainer.spent = 12.0
    trainer.save()
    again = VqVaeTrainer(pictures, recipe, tmp_path, SMALL)
    again.resume()
    assert (again.step, again.spent, again.quantising) == (31, 12.0, True)
    exported = load_depth_vqvae(tmp_path / "depth_vqvae.safetensors")
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)
        if "ema" not in name:
            torch.testing.assert_close(
                exported.state_dict()[name], value, atol=2e-3, rtol=2e-3, msg=name
            )


def test_resuming_without_a_checkpoint_starts_fresh(pictures: np.ndarray, tmp_path: Path) -> None:
    trainer = VqVaeTrainer(pictures, VqVaeRecipe(batch=2), tmp_path / "none", SMALL)
    trainer.resume()
    assert trainer.step == 0


def test_depth_maps_repeat_and_differ(tmp_path: Path) -> None:
    """Held-out frames must not be training frames, and a card's numbers must repeat."""
    one = depth_maps.depth_pictures(3, seed=5)
    assert one.shape == (3, 320, 320) and one.dtype == np.uint8
    np.testing.assert_array_equal(one, depth_maps.depth_pictures(3, seed=5))
    assert (one != depth_maps.depth_pictures(3, seed=6)).any()
    assert one.min() == 0 and one.max() > 250
    depth_maps.save_pictures(tmp_path / "a" / "maps.npz", one)
    np.testing.assert_array_equal(depth_maps.load_pictures(tmp_path / "a" / "maps.npz"), one)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["maps.npz"]


def test_a_foreign_data_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", pictures=np.zeros((3, 10, 10), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"train\.depth_maps"):
        depth_maps.load_pictures(tmp_path / "x.npz")
