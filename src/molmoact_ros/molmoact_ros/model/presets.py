"""Networks by name: the two released sizes, and small ones with the same parts and pictures.

The numbers of 7B-D and 7B-O are those the published converter writes for the launch settings of
arXiv 2508.07917 (model commit 622ad08); a checkpoint's own config.json always goes before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from molmoact_ros.model.config import AdapterConfig, LlmConfig, MolmoActConfig, VitConfig
from molmoact_ros.model.image_settings import ImageSettings
from molmoact_ros.model.nano_tokenizer import VOCAB_SIZE

REACH = (0.01, 0.01, 0.01, 0.03, 0.03, 0.03, 1.0)
"""Largest step of a row of random weights: metres, radians, gripper. Half of what the guards
allow, since random weights use the whole range."""


@dataclass(frozen=True)
class Preset:
    """``released_vocabulary``: ids as published, so a base vocabulary of that size is needed."""

    config: MolmoActConfig
    settings: ImageSettings
    released_vocabulary: bool = False


def released_d(key: str = "molmoact") -> Preset:
    """MolmoAct-7B-D: SigLIP2 so400m and Qwen2.5-7B; 8.119 B numbers in 614 tensors."""
    vit = VitConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=27,
        num_attention_heads=16,
        head_dim=72,
        hidden_act="gelu_pytorch_tanh",
        layer_norm_eps=1e-6,
        image_default_input_size=(378, 378),
        image_patch_size=14,
        image_num_pos=729,
        use_cls_token=False,
        patch_bias=True,
        pre_layernorm=False,
    )
    adapter = AdapterConfig(
        vit_layers=(-3, -9),
        hidden_size=1152,
        num_attention_heads=16,
        head_dim=72,
        intermediate_size=18944,
        text_hidden_size=3584,
        hidden_act="silu",
        image_padding_embed=None,
    )
    llm = LlmConfig(
        hidden_size=3584,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        head_dim=128,
        intermediate_size=18944,
        vocab_size=152064,
        additional_vocab_size=128,
        qkv_bias=True,
        use_qk_norm=False,
        qk_norm_type="olmo",
        norm_after=False,
        hidden_act="silu",
        rope_theta=1_000_000.0,
        layer_norm_eps=1e-6,
        max_position_embeddings=4096,
    )
    config = MolmoActConfig(vit, adapter, llm, 152066, {key: statistics()})
    return Preset(config, ImageSettings("siglip", 378), released_vocabulary=True)


def released_o(key: str = "molmoact") -> Preset:
    """MolmoAct-7B-O: OpenAI CLIP ViT-L/14 and OLMo2-7B; 7.657 B numbers in 629 tensors."""
    vit = VitConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        head_dim=64,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        image_default_input_size=(336, 336),
        image_patch_size=14,
        image_num_pos=577,
        use_cls_token=True,
        patch_bias=False,
        pre_layernorm=True,
    )
    adapter = AdapterConfig(
        vit_layers=(-2, -9),
        hidden_size=1024,
        num_attention_heads=16,
        head_dim=64,
        intermediate_size=11008,
        text_hidden_size=4096,
        hidden_act="silu",
        image_padding_embed="pad_and_partial_pad",
    )
    llm = LlmConfig(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        head_dim=128,
        intermediate_size=11008,
        vocab_size=100864,
        additional_vocab_size=128,
        qkv_bias=False,
        use_qk_norm=True,
        qk_norm_type="olmo",
        norm_after=True,
        hidden_act="silu",
        rope_theta=500_000.0,
        layer_norm_eps=1e-6,
        max_position_embeddings=4096,
    )
    config = MolmoActConfig(vit, adapter, llm, 100866, {key: statistics()})
    return Preset(config, ImageSettings("default", 336), released_vocabulary=True)


def small_d() -> Preset:
    """7B-D with the same pictures and parts, about twelve million numbers, our own vocabulary."""
    return _small(released_d("molmoact_small"), vit_layers=(-3, -5), kv_heads=2)


def small_o() -> Preset:
    """7B-O with the same pictures and parts, about fourteen million numbers, our own vocabulary."""
    return _small(released_o("molmoact_small"), vit_layers=(-2, -5), kv_heads=4)


def _small(whole: Preset, vit_layers: tuple[int, int], kv_heads: int) -> Preset:
    vit = replace(
        whole.config.vit,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=7,
        num_attention_heads=4,
        head_dim=32,
    )
    adapter = replace(
        whole.config.adapter,
        vit_layers=vit_layers,
        hidden_size=128,
        num_attention_heads=4,
        head_dim=32,
        intermediate_size=768,
        text_hidden_size=384,
    )
    llm = replace(
        whole.config.llm,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        head_dim=96,
        intermediate_size=1024,
        vocab_size=VOCAB_SIZE,
        additional_vocab_size=128,
    )
    stats = whole.config.norm_stats
    config = MolmoActConfig(vit, adapter, llm, VOCAB_SIZE + 2, stats)
    return Preset(config, whole.settings)


def statistics() -> dict[str, Any]:
    """An entry of ``norm_stats`` for weights that were never trained."""
    return {
        "action": {
            "q01": [-value for value in REACH],
            "q99": list(REACH),
            "mask": [True] * 6 + [False],
        },
        "num_transitions": 0,
        "num_trajectories": 0,
    }


PRESETS: dict[str, Callable[[], Preset]] = {
    "7b-d": released_d,
    "7b-o": released_o,
    "small-d": small_d,
    "small-o": small_o,
}
"""Without nano, which has weights and settings of its own (``model.nano``)."""
