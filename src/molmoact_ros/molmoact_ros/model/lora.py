"""Low-rank adapters: fine-tunings of a few megabytes, added into the weights when they load.

An adapter is a folder in PEFT's format (adapter_config.json and adapter_model.safetensors). Its
tensors are named in our layout, or in that of the original trainer, which this module translates:
there, ``self_attn`` and ``mlp`` are not levels of a block, ``lm_head`` is ``transformer.ff_out``,
and wrappers of distributed training stand between the names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from molmoact_ros.model.config import CheckpointError, read_json
from molmoact_ros.model.molmoact import MolmoAct

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_WRAPPERS = {"_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod", "module"}
_HALF = re.compile(r"(?P<of>.+)\.lora_(?P<half>[AB])(?:\.default)?\.weight")
_ATTENTION = ("att_proj", "attn_out", "q_norm", "k_norm")
_MLP = ("ff_proj", "ff_out")


@dataclass(frozen=True, eq=False)
class Adapter:
    """``halves``: released module name -> (A [rank, in], B [out, rank]); W grows by scale * B A."""

    folder: Path
    scale: float
    halves: Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def released_name(name: str) -> str:
    """The module of a released checkpoint that ``name`` means in any of the layouts.

    ``name`` is without ``.weight`` or ``.lora_A.weight``; names of released modules stay as they
    are.
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts[:2] == ["base_model", "model"]:
        parts = parts[2:]
    if parts[0] in ("transformer", "vision_backbone"):
        parts = ["model", *parts]
    if parts == ["model", "transformer", "ff_out"]:
        return "lm_head"
    if parts[:3] == ["model", "transformer", "blocks"] and len(parts) == 5:
        level = {**dict.fromkeys(_ATTENTION, "self_attn"), **dict.fromkeys(_MLP, "mlp")}
        if parts[4] in level:
            parts.insert(4, level[parts[4]])
    return ".".join(parts)


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter folder. Raises CheckpointError naming file and tensor."""
    settings = read_json(folder / SETTINGS)
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: missing; an adapter is read from safetensors only, convert older files"
        ) from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error}); copy it again") from None
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        half = _HALF.fullmatch(name)
        if half is None or tensor.ndim != 2 or not tensor.is_floating_point():
            raise CheckpointError(
                f"{path}: {name} {tensor.dtype} {list(tensor.shape)} is no half of a LoRA pair; "
                "only adapters of linear layers without other trained tensors are understood"
            )
        pairs.setdefault(released_name(half["of"]), {})[half["half"]] = tensor
    for name, pair in pairs.items():
        if len(pair) != 2 or pair["A"].shape[0] != pair["B"].shape[1]:
            raise CheckpointError(
                f"{path}: the two halves of {name} do not fit each other; copy it again"
            )
    if not pairs:
        raise CheckpointError(f"{path}: holds no LoRA tensors; train or copy it again")
    ranks = {pair["A"].shape[0] for pair in pairs.values()}
    halves = {name: (pair["A"], pair["B"]) for name, pair in pairs.items()}
    return Adapter(folder, _scale(settings, ranks, folder / SETTINGS), halves)


def merge_adapter(model: MolmoAct, adapter: Adapter) -> int:
    """Add ``adapter`` into the weights of ``model``; returns how many layers changed.

    Halves of vision blocks behind the last one that is used are skipped, as the blocks are.
    Raises CheckpointError for a layer this network has not or of another size, before anything
    is changed.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    wanted = {
        name: pair for name, pair in adapter.halves.items() if not _unused(name, model, layers)
    }
    for name, (a, b) in wanted.items():
        found = (b.shape[0], a.shape[1])
        has = tuple(layers[name].weight.shape) if name in layers else None
        if has != found:
            raise CheckpointError(
                f"{adapter.folder / WEIGHTS}: {name} is for a layer of {list(found)}, this model "
                f"has {'none of that name' if has is None else list(has)}; use the checkpoint the "
                "adapter was trained on"
            )
    for name, (a, b) in wanted.items():
        weight = layers[name].weight
        delta = adapter.scale * (b.to(weight.device).float() @ a.to(weight.device).float())
        # A new tensor: mapped weights are shared with their file and with other processes.
        merged = (weight.float() + delta).to(weight.dtype)
        layers[name].weight = torch.nn.Parameter(merged, requires_grad=weight.requires_grad)
    return len(wanted)


def _unused(name: str, model: MolmoAct, layers: Mapping[str, torch.nn.Linear]) -> bool:
    block = re.match(r"model\.vision_backbone\.image_vit\.transformer\.resblocks\.(\d+)\.", name)
    total = model.config.vit.num_hidden_layers
    return name not in layers and block is not None and int(block[1]) < total


def _scale(settings: Mapping[str, Any], ranks: set[int], where: Path) -> float:
    rank: Any = settings.get("r")
    alpha: Any = settings.get("lora_alpha")
    if type(rank) is not int or ranks != {rank} or type(alpha) not in (int, float):
        raise CheckpointError(
            f"{where}: r is {rank!r} and lora_alpha {alpha!r}, the tensors have rank "
            f"{sorted(ranks)}; take both files from the same training"
        )
    odd = [key for key in ("use_dora", "rank_pattern", "alpha_pattern") if settings.get(key)]
    if odd:
        raise CheckpointError(f"{where}: {odd[0]} is not understood; merge the adapter with PEFT")
    return float(alpha) / (rank**0.5 if settings.get("use_rslora") else rank)
