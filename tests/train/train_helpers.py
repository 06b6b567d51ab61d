"""A network of a hundred thousand numbers and a data set to train it on, for tests of train/."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.model.checkpoint import save_checkpoint
from molmoact_ros.model.config import MolmoActConfig, read_json
from molmoact_ros.model.nano import nano_config, nano_settings
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.train.recipe import PRESETS, Recipe
from molmoact_ros.train.sizes import untrained
from molmoact_ros.train.stream import Source

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))
from data_helpers import make_data

__all__ = ["make_data", "small_recipe", "source_of", "tiny_config"]


def tiny_config() -> MolmoActConfig:
    """As nano, with one language block and two used vision blocks of 32 numbers."""
    config = nano_config()
    vit = replace(
        config.vit, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
        num_attention_heads=2, head_dim=16,
    )  # fmt: skip
    adapter = replace(
        config.adapter, vit_layers=(-2, -3), hidden_size=32, num_attention_heads=2, head_dim=16,
        intermediate_size=48, text_hidden_size=32,
    )  # fmt: skip
    llm = replace(
        config.llm, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, intermediate_size=48,
    )  # fmt: skip
    return replace(config, vit=vit, adapter=adapter, llm=llm)


def small_recipe(**fields: object) -> Recipe:
    """Four samples a step, no looking, no saving before the end."""
    base = replace(
        PRESETS["nano-cpu"], steps=3, batch=4, micro=2, warm_up=1, log_every=1, look_every=0,
        save_every=100, bin_sigma=0.0, jitter=False,
    )  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]


def source_of(folder: Path, recipe: Recipe, episodes: int = 3) -> Source:
    """Data set, tiny checkpoint and recipe below ``folder``; made once."""
    data, base = folder / "data", folder / "base"
    if not data.exists():
        make_data(data, episodes, 14)
    if not base.exists():
        config = replace(tiny_config(), norm_stats=read_json(data / STATISTICS))
        save_checkpoint(
            base, untrained(config, 0), build_nano_tokenizer(), nano_settings(), "# tiny", "random"
        )
    return Source((data,), base, recipe)
