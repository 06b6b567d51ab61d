"""LoRA with PEFT, on targets that are named here, so that no release of PEFT changes the set.

Every linear layer of language model, vision transformer and connector, and the output head
(rank 32: 95.95 M numbers on MolmoAct-7B-D). Saved in PEFT's format in our own layer names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

from molmoact_ros.model.lora import SETTINGS, WEIGHTS
from molmoact_ros.model.molmoact import MolmoAct

NAME = "default"
_TARGETS = (
    r"model\.transformer\.blocks\.\d+\.self_attn\.(att_proj|attn_out)",
    r"model\.transformer\.blocks\.\d+\.mlp\.(ff_proj|ff_out)",
    r"model\.vision_backbone\.image_vit\.patch_embedding",
    r"model\.vision_backbone\.image_vit\.transformer\.resblocks\.\d+\.attention\.w[qkvo]",
    r"model\.vision_backbone\.image_vit\.transformer\.resblocks\.\d+\.feed_forward\.w[12]",
    r"model\.vision_backbone\.image_pooling_2d\.w[qkvo]",
    r"model\.vision_backbone\.image_projector\.w[123]",
    r"lm_head",
)
TARGETS = "|".join(f"(?:{pattern})" for pattern in _TARGETS)


def target_names(network: MolmoAct) -> list[str]:
    """Layers that get an adapter, in the network's order."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and re.fullmatch(TARGETS, name)
    ]


def add_adapters(network: MolmoAct, rank: int, alpha: int, seed: int) -> list[str]:
    """Freeze the network and put trainable adapters beside its layers; their names.

    A is drawn from a normal distribution, B is zero: the network's answers do not change yet.
    """
    names = target_names(network)
    network.requires_grad_(False)
    settings = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=names,
        init_lora_weights="gaussian",
    )  # fmt: skip
    torch.manual_seed(seed)
    inject_adapter_in_model(settings, network, NAME)
    for module in network.modules():
        if isinstance(module, LoraLayer):
            for half in (module.lora_A[NAME], module.lora_B[NAME]):
                half.to(torch.float32).requires_grad_(True)
    return names


def save_adapter(network: MolmoAct, folder: Path, rank: int, alpha: int, base: str) -> None:
    """adapter_model.safetensors (float32) and adapter_config.json, as PEFT and
    ``model.lora`` read them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, module in network.named_modules():
        if isinstance(module, LoraLayer):
            for half, layers in (("A", module.lora_A), ("B", module.lora_B)):
                key = f"base_model.model.{name}.lora_{half}.weight"
                tensors[key] = layers[NAME].weight.detach().float().cpu().contiguous()
    save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": TARGETS,
        "base_model_name_or_path": base,
        "inference_mode": True,
    }
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def adapter_state(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a saved adapter, for tests and comparisons."""
    return load_file(folder / WEIGHTS)
