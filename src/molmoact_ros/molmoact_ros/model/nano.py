"""MolmoAct nano: the same network as 7B-D in about five million parameters, for a CPU."""

from __future__ import annotations

from pathlib import Path

import torch

from molmoact_ros.model.checkpoint import save_checkpoint
from molmoact_ros.model.config import AdapterConfig, LlmConfig, MolmoActConfig, VitConfig
from molmoact_ros.model.image_settings import ImageSettings
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.nano_tokenizer import VOCAB_SIZE, build_nano_tokenizer
from molmoact_ros.model.presets import statistics

STATISTICS_KEY = "molmoact_nano"


def nano_config() -> MolmoActConfig:
    """126x126 crops (9x9 patches, 25 pooled tokens), 4 used ViT and 6 language blocks."""
    vit = VitConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=5,
        num_attention_heads=4,
        head_dim=32,
        hidden_act="gelu_pytorch_tanh",
        layer_norm_eps=1e-6,
        image_default_input_size=(126, 126),
        image_patch_size=14,
        image_num_pos=81,
        use_cls_token=False,
        patch_bias=True,
        pre_layernorm=False,
    )
    adapter = AdapterConfig(
        vit_layers=(-2, -4),
        hidden_size=128,
        num_attention_heads=4,
        head_dim=32,
        intermediate_size=384,
        text_hidden_size=256,
        hidden_act="silu",
        image_padding_embed=None,
    )
    llm = LlmConfig(
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=640,
        vocab_size=VOCAB_SIZE,
        additional_vocab_size=16,
        qkv_bias=True,
        use_qk_norm=False,
        qk_norm_type="olmo",
        norm_after=False,
        hidden_act="silu",
        rope_theta=1_000_000.0,
        layer_norm_eps=1e-6,
        max_position_embeddings=2048,
    )
    return MolmoActConfig(vit, adapter, llm, VOCAB_SIZE + 2, {STATISTICS_KEY: statistics()})


def nano_settings() -> ImageSettings:
    """One tile a picture: any camera costs the same 64 tokens."""
    return ImageSettings("siglip", 126, margins=(2, 2), max_crops=1, max_multi_image_crops=1)


def random_nano(seed: int) -> MolmoAct:
    """A nano network with random weights, the same for the same seed."""
    model = MolmoAct(nano_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("ln_f.weight"):
                parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            elif name.endswith(".bias"):
                parameter.zero_()
            else:
                # Every layer keeps the size of its input, so that pictures reach the answer.
                fan_in = 1 if "embedding" in name and parameter.ndim == 2 else parameter.shape[-1]
                if name.endswith("patch_embedding.weight"):
                    fan_in = parameter.shape[-1]
                parameter.normal_(0.0, fan_in**-0.5, generator=generator)
    return model.eval().requires_grad_(False)


def save_random_nano(folder: Path, seed: int = 0) -> None:
    """Write a complete checkpoint folder whose card says that its weights are random."""
    card = (
        "# MolmoAct nano\n\nThe network of MolmoAct (arXiv 2508.07917) in a size of our own, with "
        "a tokenizer of our own. It shows that the whole path runs; it has learned nothing."
    )
    origin = f"RANDOM (seed {seed}), never trained: its actions mean nothing"
    save_checkpoint(
        folder, random_nano(seed), build_nano_tokenizer(), nano_settings(), card, origin
    )
