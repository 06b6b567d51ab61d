"""The numbers that define one MolmoAct network, as released checkpoints store them in config.json.

One code base serves 7B-D (SigLIP2 + Qwen2.5), 7B-O (CLIP + OLMo2) and our own nano: every
difference between them is a field here. Nothing falls back to a class default, because the
defaults of the original classes match no released model; a missing field is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


class CheckpointError(ValueError):
    """A checkpoint folder cannot be used; the message names file, finding and remedy."""


@dataclass(frozen=True)
class VitConfig:
    """Vision transformer (config.json ``vit_config``)."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    hidden_act: str
    layer_norm_eps: float
    image_default_input_size: tuple[int, int]
    image_patch_size: int
    image_num_pos: int
    use_cls_token: bool
    patch_bias: bool
    pre_layernorm: bool
    float32_attention: bool = True

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across one crop."""
        height, width = self.image_default_input_size
        return height // self.image_patch_size, width // self.image_patch_size

    @property
    def patch_values(self) -> int:
        """Numbers in one patch vector: patch rows x patch columns x RGB."""
        return self.image_patch_size**2 * 3


@dataclass(frozen=True)
class AdapterConfig:
    """Attention pooling and projector between vision and language (``adapter_config``)."""

    vit_layers: tuple[int, ...]
    hidden_size: int
    num_attention_heads: int
    head_dim: int
    intermediate_size: int
    text_hidden_size: int
    hidden_act: str
    image_padding_embed: str | None
    float32_attention: bool = True


@dataclass(frozen=True)
class LlmConfig:
    """Causal language model (``llm_config``)."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    additional_vocab_size: int
    qkv_bias: bool
    use_qk_norm: bool
    qk_norm_type: str
    norm_after: bool
    hidden_act: str
    rope_theta: float
    layer_norm_eps: float
    max_position_embeddings: int


@dataclass(frozen=True)
class MolmoActConfig:
    """One whole network. ``norm_stats`` keeps the released layout (spec: statistics file)."""

    vit: VitConfig
    adapter: AdapterConfig
    llm: LlmConfig
    image_patch_id: int
    norm_stats: Mapping[str, Any]

    @property
    def vit_layer_indices(self) -> tuple[int, ...]:
        """Zero-based ViT blocks whose outputs are used; negative numbers count from the end."""
        total = self.vit.num_hidden_layers
        return tuple(i + total if i < 0 else i for i in self.adapter.vit_layers)

    @property
    def vit_blocks(self) -> int:
        """Blocks that exist: checkpoints stop at the last one whose output is used."""
        return max(self.vit_layer_indices) + 1


_JSON_KEYS = {"vit": "vit_config", "adapter": "adapter_config", "llm": "llm_config"}
_ACTIVATIONS = {"gelu_pytorch_tanh", "quick_gelu", "silu"}


def config_from_dict(data: Mapping[str, Any], where: str = "config.json") -> MolmoActConfig:
    """Read and check the released layout. Raises CheckpointError naming the field."""
    if data.get("model_type") != "molmoact":
        raise CheckpointError(
            f"{where}: model_type is {data.get('model_type')!r}, expected 'molmoact'; point to a "
            "MolmoAct checkpoint folder (MolmoAct2 is another architecture and is not supported)"
        )
    vit = _section(VitConfig, data, "vit", where)
    adapter = _section(AdapterConfig, data, "adapter", where)
    llm = _section(LlmConfig, data, "llm", where)
    if data["llm_config"].get("rope_scaling") is not None:
        raise CheckpointError(
            f"{where}: llm_config.rope_scaling is set, but released models use none; "
            "remove it or extend model/language.py"
        )
    patch_id = data.get("image_patch_id")
    if not isinstance(patch_id, int):
        raise CheckpointError(f"{where}: image_patch_id is {patch_id!r}, expected a token id")
    config = MolmoActConfig(vit, adapter, llm, patch_id, dict(data.get("norm_stats") or {}))
    _check(config, where)
    return config


def config_to_dict(config: MolmoActConfig) -> dict[str, Any]:
    """The released layout, ready for config.json."""
    sections: dict[str, dict[str, Any]] = {
        key: asdict(getattr(config, name)) for name, key in _JSON_KEYS.items()
    }
    sections["vit_config"].update(
        model_type="molmoact_vit", num_key_value_heads=config.vit.num_attention_heads
    )
    sections["adapter_config"].update(
        model_type="", num_key_value_heads=config.adapter.num_attention_heads
    )
    sections["llm_config"].update(model_type="molmoact_llm", rope_scaling=None)
    return {
        "model_type": "molmoact",
        "architectures": ["MolmoActForActionReasoning"],
        "image_patch_id": config.image_patch_id,
        "n_action_bins": 256,
        "tie_word_embeddings": False,
        "use_cache": True,
        "initializer_range": 0.02,
        "norm_stats": dict(config.norm_stats),
        **sections,
    }


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from ``path``. Raises CheckpointError when absent or not an object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; is this a complete checkpoint folder?") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); download it again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def load_config(folder: Path) -> MolmoActConfig:
    """The configuration of a checkpoint folder."""
    path = folder / "config.json"
    return config_from_dict(read_json(path), str(path))


def _section(kind: type[T], data: Mapping[str, Any], name: str, where: str) -> T:
    key = _JSON_KEYS[name]
    section = data.get(key)
    if not isinstance(section, Mapping):
        raise CheckpointError(f"{where}: {key} is missing; download config.json again")
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in section:
            if field.name == "float32_attention":
                continue
            raise CheckpointError(f"{where}: {key}.{field.name} is missing; download it again")
        value = section[field.name]
        hint = hints[field.name]
        if isinstance(value, list):
            value = tuple(value)
        if not _fits(value, hint):
            raise CheckpointError(f"{where}: {key}.{field.name} is {value!r}, expected {hint}")
        values[field.name] = float(value) if hint is float else value
    return kind(**values)


def _fits(value: object, hint: Any) -> bool:
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    if hint is str:
        return isinstance(value, str)
    if isinstance(value, tuple):
        return len(value) > 0 and all(type(item) is int for item in value)
    return value is None or isinstance(value, str)


def _check(config: MolmoActConfig, where: str) -> None:
    vit, adapter, llm = config.vit, config.adapter, config.llm
    problems = [
        (vit.hidden_act not in _ACTIVATIONS, f"vit_config.hidden_act {vit.hidden_act!r} unknown"),
        (adapter.hidden_act != "silu" or llm.hidden_act != "silu", "hidden_act must be 'silu'"),
        (
            llm.num_attention_heads % llm.num_key_value_heads != 0,
            "llm_config: num_attention_heads is no multiple of num_key_value_heads",
        ),
        (llm.head_dim % 2 != 0, "llm_config.head_dim must be even (rotary halves)"),
        (llm.use_qk_norm and llm.qk_norm_type != "olmo", "qk_norm_type must be 'olmo'"),
        (adapter.text_hidden_size != llm.hidden_size, "text_hidden_size != llm hidden_size"),
        (
            any(not 0 <= i < vit.num_hidden_layers for i in config.vit_layer_indices),
            "adapter_config.vit_layers points outside the ViT",
        ),
        (
            not llm.vocab_size
            <= config.image_patch_id
            < llm.vocab_size + llm.additional_vocab_size,
            "image_patch_id is not among the additional vocabulary",
        ),
    ]
    for wrong, message in problems:
        if wrong:
            raise CheckpointError(f"{where}: {message}; this network cannot be built")
