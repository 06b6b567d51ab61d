"""The card beside a trained depth VQ-VAE: what it saw, how it was made, what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from molmoact_ros.train.depth_shards import read_settings
from molmoact_ros.train.vqvae_recipe import VqVaeRecipe


def write_card(
    path: Path,
    folders: Sequence[Path],
    maps: int,
    recipe: VqVaeRecipe,
    notes: Mapping[str, str],
    held_out: Mapping[str, float],
) -> None:
    """Markdown. maps: that were trained on. held_out: ``VqVaeLearner.held_out``."""
    sources = "; ".join(
        f"`{folder}` ({', '.join(f'{k}: {v}' for k, v in read_settings(folder).items() if v)})"
        for folder in folders
    )
    budget = f"{recipe.minutes:g} minutes" if recipe.minutes else f"{recipe.epochs:g} epochs"
    epochs = int(notes["steps"]) * recipe.batch / maps
    ours = [
        words
        for words, used in (
            (f"first {recipe.warm_up:.0%} without codes, then k-means", True),
            (f"unused codes moved every {recipe.revive_every} steps", recipe.revive_every > 0),
            (f"{recipe.edges:g} x error of neighbouring pixels' differences", recipe.edges > 0.0),
            ("squared error divided by the variance", recipe.scaled),
            ("learning rate falls by a cosine", recipe.cosine),
        )
        if used
    ]
    used, codes = held_out["codes_used"], held_out["perplexity"]
    path.write_text(
        "# depth_vqvae.safetensors\n\n"
        "Depth VQ-VAE trained by `molmoact vqvae train`. Its codes mean something else than those "
        "of any other file: label, train and drive with this one.\n\n"
        "| | |\n|---|---|\n"
        f"| data | {maps} depth maps of {sources} |\n"
        f"| budget | {budget}; done: {notes['steps']} steps, {epochs:.1f} epochs, "
        f"{notes['minutes']} minutes |\n"
        f"| recipe | batch {recipe.batch}, rate {recipe.learning_rate:g}, mean squared error + "
        f"{recipe.commitment:g} x commitment, codebook averages {recipe.decay:g} |\n"
        f"| not as published | {'; '.join(ours)} |\n"
        f"| held out | mean squared error {held_out['mse']:.5f}, {used:.0f} codes used, "
        f"perplexity {codes:.0f} |\n\n"
        f"More: `molmoact vqvae report --weights {path.parent / notes['file']} "
        f"--maps {' '.join(map(str, folders))} --out {path.parent / 'report'}`\n",
        encoding="utf-8",
    )
