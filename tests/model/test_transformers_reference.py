"""Our blocks compute what transformers' Qwen2, OLMo2, SigLIP and CLIP compute with their weights.

A second reference beside the recordings, and the proof of how foreign weights are packed: query,
key and value rows one under the other, up BEFORE gate. Runs with the oldest and the newest
release that ``tests/oldest/run`` names.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molmoact_ros.model.language import LanguageModel
from molmoact_ros.model.presets import PRESETS
from molmoact_ros.model.vision import Vit

transformers = pytest.importorskip("transformers")

LLM = {"hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 96, "vocab_size": 200}


def language(kind: str):
    """A small language model of transformers with random norms, and its numbers for ours."""
    torch.manual_seed(0)
    heads = 2 if kind == "D" else 4
    common = {
        **LLM, "num_attention_heads": 4, "num_key_value_heads": heads, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 4096, "tie_word_embeddings": False, "attention_dropout": 0.0,
        "attn_implementation": "eager",
    }  # fmt: skip
    if kind == "D":
        config = transformers.Qwen2Config(**common, rope_theta=1e6, use_sliding_window=False)
        model = transformers.Qwen2Model(config)
    else:
        config = transformers.Olmo2Config(**common, rope_theta=5e5, attention_bias=False)
        model = transformers.Olmo2Model(config)
    model = model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + 1)
    return model, heads


def packed(model: torch.nn.Module, kind: str, layer: int) -> dict[str, torch.Tensor]:
    """One block's weights under the names of a released checkpoint."""
    state = model.layers[layer].state_dict()
    qkv = ("q_proj", "k_proj", "v_proj")
    out = {
        "self_attn.att_proj.weight": torch.cat([state[f"self_attn.{n}.weight"] for n in qkv]),
        "self_attn.attn_out.weight": state["self_attn.o_proj.weight"],
        "mlp.ff_proj.weight": torch.cat(
            [state["mlp.up_proj.weight"], state["mlp.gate_proj.weight"]]
        ),
        "mlp.ff_out.weight": state["mlp.down_proj.weight"],
    }
    if kind == "D":
        out["self_attn.att_proj.bias"] = torch.cat([state[f"self_attn.{n}.bias"] for n in qkv])
        norms = {"attn_norm": "input_layernorm", "ff_norm": "post_attention_layernorm"}
    else:
        norms = {
            "attn_norm": "post_attention_layernorm", "ff_norm": "post_feedforward_layernorm",
            "self_attn.q_norm": "self_attn.q_norm", "self_attn.k_norm": "self_attn.k_norm",
        }  # fmt: skip
    return out | {f"{ours}.weight": state[f"{theirs}.weight"] for ours, theirs in norms.items()}


@pytest.mark.parametrize("kind", ["D", "O"])
def test_language_models_agree(kind: str) -> None:
    reference, kv_heads = language(kind)
    preset = PRESETS[f"small-{kind.lower()}"]().config.llm
    config = replace(
        preset, **LLM, num_attention_heads=4, num_key_value_heads=kv_heads, head_dim=16
    )
    ours = LanguageModel(config)
    state = {"ln_f.weight": reference.norm.weight, "wte.new_embedding": torch.zeros(128, 64)}
    state["wte.embedding"] = reference.embed_tokens.weight
    for layer in range(LLM["num_hidden_layers"]):
        block = packed(reference, kind, layer)
        state |= {f"blocks.{layer}.{name}": tensor for name, tensor in block.items()}
    ours.load_state_dict(state)
    ids = torch.randint(0, 200, (2, 30), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = reference(input_ids=ids).last_hidden_state
        positions = torch.arange(30).expand(2, 30)
        found = ours(ours.wte(ids), positions)
    assert (found - expected).abs().max() < 2e-4
    assert expected.abs().max() > 1


def vision(kind: str):
    torch.manual_seed(0)
    size = 56
    common = {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "image_size": size,
        "num_attention_heads": 4, "patch_size": 14, "attn_implementation": "eager",
    }  # fmt: skip
    if kind == "D":
        config = transformers.SiglipVisionConfig(**common, layer_norm_eps=1e-6)
        model = transformers.SiglipVisionModel(config)
    else:
        config = transformers.CLIPVisionConfig(
            **common, layer_norm_eps=1e-5, hidden_act="quick_gelu"
        )
        model = transformers.CLIPVisionModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    # Releases before 5 wrap the transformer in one more module.
    return getattr(model.eval(), "vision_model", model)


@pytest.mark.parametrize("kind", ["D", "O"])
def test_vision_transformers_agree(kind: str) -> None:
    reference = vision(kind)
    config = replace(
        PRESETS[f"small-{kind.lower()}"]().config.vit,
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        head_dim=16, image_default_input_size=(56, 56), image_num_pos=16 + (kind == "O"),
    )  # fmt: skip
    theirs = reference.state_dict()
    kernel = theirs["embeddings.patch_embedding.weight"]
    state = {
        "patch_embedding.weight": kernel.permute(0, 2, 3, 1).flatten(1),
        "positional_embedding": theirs["embeddings.position_embedding.weight"],
    }
    if kind == "D":
        state["patch_embedding.bias"] = theirs["embeddings.patch_embedding.bias"]
    else:
        state["class_embedding"] = theirs["embeddings.class_embedding"]
        for part in ("weight", "bias"):
            state[f"pre_ln.{part}"] = theirs[f"pre_layrnorm.{part}"]
    names = {
        "attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj",
        "attention.wv": "self_attn.v_proj", "attention.wo": "self_attn.out_proj",
        "feed_forward.w1": "mlp.fc1", "feed_forward.w2": "mlp.fc2",
        "attention_norm": "layer_norm1", "ffn_norm": "layer_norm2",
    }  # fmt: skip
    for layer in range(3):
        for ours, other in names.items():
            for part in ("weight", "bias"):
                value = theirs[f"encoder.layers.{layer}.{other}.{part}"]
                state[f"transformer.resblocks.{layer}.{ours}.{part}"] = value
    network = Vit(config, 3)
    network.load_state_dict(state)
    picture = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(2))
    patches = picture.reshape(2, 3, 4, 14, 4, 14).permute(0, 2, 4, 3, 5, 1).reshape(2, 16, 588)
    with torch.inference_mode():
        states = reference(pixel_values=picture, output_hidden_states=True).hidden_states
        found = network(patches)
    for block, expected in zip(found, states[1:], strict=True):
        assert (block - expected).abs().max() < 1e-3 * expected.abs().max()
