"""Random weights of any size in the released layout, for tests, benchmarks and demonstrations.

Written shard by shard: a 7B checkpoint needs the memory of one shard. Every tensor has a random
stream of its own, drawn from seed and name, so order and sharding change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from molmoact_ros.model.checkpoint import save_settings, write_card
from molmoact_ros.model.config import MolmoActConfig
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.presets import Preset
from molmoact_ros.model.tokenizer import MolmoActTokenizer
from molmoact_ros.model.weight_files import Progress
from molmoact_ros.model.weight_writing import SHARD_BYTES, write_weights

LOGIT_SCALE = 8.0
"""Standard deviation of the logits. At 1 the two best of a hundred often differ by less than
bfloat16 resolves at that size of number; larger logits give greedy choices a margin."""

QUERY_SCALE = 3.0


def tensor_shapes(config: MolmoActConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's tensors, in its own order; no memory is used."""
    with torch.device("meta"):
        state: Mapping[str, torch.Tensor] = MolmoAct(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def random_tensor(
    name: str, shape: tuple[int, ...], config: MolmoActConfig, seed: int
) -> torch.Tensor:
    """float32 values of one tensor.

    Norms are one, biases zero, and projections keep the size of their input. Queries are larger:
    attention looks at few tokens then, and answers depend on pictures and place instead of
    repeating their last token.
    """
    if name.endswith(".bias") or "pad_embed" in name:
        return torch.zeros(shape)
    if "norm" in name or name.endswith(("ln_f.weight", "pre_ln.weight")):
        return torch.full(shape, QUERY_SCALE if name.endswith("q_norm.weight") else 1.0)
    deviation = 1.0 if name.endswith("embedding") else shape[-1] ** -0.5
    if name == "lm_head.weight":
        deviation *= LOGIT_SCALE
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    stream = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    values = stream.standard_normal(shape, dtype=np.float32)
    tensor = torch.from_numpy(values).mul_(deviation)
    if name.endswith("att_proj.weight"):
        tensor[: config.llm.num_attention_heads * config.llm.head_dim] *= QUERY_SCALE
    return tensor


def save_random_checkpoint(
    folder: Path,
    preset: Preset,
    tokenizer: MolmoActTokenizer,
    title: str,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> None:
    """A complete folder whose card says that its weights are random. ``title``: for the card."""
    save_settings(folder, preset.config, tokenizer, preset.settings)
    shapes = tensor_shapes(preset.config)
    write_weights(
        folder,
        shapes,
        lambda name: dtype,
        lambda name: random_tensor(name, shapes[name], preset.config, seed).to(dtype),
        shard_bytes=shard_bytes,
        progress=progress,
    )
    write_card(
        folder,
        f"# {title}\n\nThe network of MolmoAct (arXiv 2508.07917) in the released layout with "
        "random weights. It shows that the whole path runs and how fast; it has learned nothing.",
        f"RANDOM (seed {seed}), never trained: its actions mean nothing",
    )
