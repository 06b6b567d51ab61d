"""Networks small enough to be trained from nothing: the parts of 7B-D, a vocabulary of our own.

"nano" has five million numbers for a CPU, "mini" twenty million for an hour on one GPU. "micro" has
five and a half and spends no tokens on fixed wording: the one to train on a CPU.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from molmoact_ros.data.dataset import STATISTICS
from molmoact_ros.model.checkpoint import save_checkpoint
from molmoact_ros.model.config import MolmoActConfig, read_json
from molmoact_ros.model.image_settings import ImageSettings
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.nano import nano_config, nano_settings
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.model.tokenizer import MolmoActTokenizer

SIZES = ("nano", "mini", "micro")
_PHRASES = ("micro",)
"""Sizes whose vocabulary has the fixed wording as whole tokens."""


def small_tokenizer(size: str) -> MolmoActTokenizer:
    """The vocabulary of a size."""
    return build_nano_tokenizer(phrases=size in _PHRASES)


def small_config(size: str) -> tuple[MolmoActConfig, ImageSettings]:
    """Configuration and picture settings of a size. Raises ValueError for another name."""
    config, settings = nano_config(), nano_settings()
    if size == "nano":
        return config, settings
    if size == "micro":
        return _micro(config, settings)
    if size != "mini":
        raise ValueError(f"unknown size {size!r}; use one of {', '.join(SIZES)}, or give --base")
    side = 224
    vit = replace(
        config.vit,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=7,
        num_attention_heads=8,
        head_dim=32,
        image_default_input_size=(side, side),
        image_num_pos=(side // 14) ** 2,
    )
    adapter = replace(
        config.adapter,
        vit_layers=(-2, -4),
        hidden_size=256,
        num_attention_heads=8,
        head_dim=32,
        intermediate_size=768,
        text_hidden_size=384,
    )
    llm = replace(
        config.llm,
        hidden_size=384,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=1024,
    )
    return replace(config, vit=vit, adapter=adapter, llm=llm), replace(settings, size=side)


def _micro(config: MolmoActConfig, settings: ImageSettings) -> tuple[MolmoActConfig, ImageSettings]:
    """Ten by ten patches, one a depth code; four language blocks with heads of their own keys
    (shared ones are slow on a CPU).
    """
    side, patch = 160, 16
    vit = replace(
        config.vit,
        hidden_size=192,
        intermediate_size=512,
        num_attention_heads=6,
        image_default_input_size=(side, side),
        image_patch_size=patch,
        image_num_pos=(side // patch) ** 2,
    )
    adapter = replace(config.adapter, hidden_size=192, num_attention_heads=6, intermediate_size=512)
    llm = replace(
        config.llm, num_hidden_layers=4, num_key_value_heads=4, intermediate_size=512,
        rope_theta=10_000.0,
    )  # fmt: skip
    return replace(config, vit=vit, adapter=adapter, llm=llm), replace(
        settings, size=side, patch=patch
    )


def untrained(config: MolmoActConfig, seed: int) -> MolmoAct:
    """Weights to start training from: normal with the spread of their fan-in, branches small.

    Outputs of branches are scaled down by the depth, so that a deep stack starts near identity.
    """
    network = MolmoAct(config)
    generator = torch.Generator().manual_seed(seed)
    blocks = config.llm.num_hidden_layers
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name or name.endswith("ln_f.weight"):
                parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            elif name.endswith(".bias") or "class_embedding" in name:
                parameter.zero_()
            elif "embedding" in name and "patch" not in name:
                parameter.normal_(0.0, 0.02, generator=generator)
            else:
                spread = parameter.shape[-1] ** -0.5
                if name.endswith(("attn_out.weight", "ff_out.weight", "wo.weight", "w2.weight")):
                    spread *= (2 * blocks) ** -0.5
                parameter.normal_(0.0, spread, generator=generator)
    return network


def save_untrained(folder: Path, size: str, data: Path, seed: int) -> None:
    """A checkpoint folder to start from, with the statistics of ``data`` in its config."""
    config, settings = small_config(size)
    config = replace(config, norm_stats=read_json(data / STATISTICS))
    card = f"# MolmoAct {size}, before training\n\nRandom weights to start from."
    network = untrained(config, seed)
    save_checkpoint(
        folder, network, small_tokenizer(size), settings, card,
        f"RANDOM (seed {seed}), never trained: its actions mean nothing",
    )  # fmt: skip
