"""The vision transformer: patch vectors to the outputs of its blocks.

Submodule names are those of released state dicts (``image_vit.transformer.resblocks.V...``).
There is no final normalisation: later parts read raw block outputs.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

from molmoact_ros.model.attention import attend, split_heads
from molmoact_ros.model.config import VitConfig


class VitAttention(nn.Module):
    """Full attention with biases on all four projections."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        inner = config.num_attention_heads * config.head_dim
        self.wq = nn.Linear(config.hidden_size, inner)
        self.wk = nn.Linear(config.hidden_size, inner)
        self.wv = nn.Linear(config.hidden_size, inner)
        self.wo = nn.Linear(inner, config.hidden_size)
        self._head_dim = config.head_dim
        self._in_float32 = config.float32_attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (split_heads(w(x), self._head_dim) for w in (self.wq, self.wk, self.wv))
        return self.wo(attend(q, k, v, in_float32=self._in_float32))  # type: ignore[no-any-return]


class VitMlp(nn.Module):
    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self._act = ACT2FN[config.hidden_act]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(self._act(self.w1(x)))  # type: ignore[no-any-return]


class VitBlock(nn.Module):
    """Pre-norm block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.attention = VitAttention(config)
        self.feed_forward = VitMlp(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.ffn_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.ffn_norm(x))  # type: ignore[no-any-return]


class _BlockList(nn.Module):
    def __init__(self, config: VitConfig, blocks: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(VitBlock(config) for _ in range(blocks))


class Vit(nn.Module):
    """Patch vectors [crops, patches, 588] to the output of every block (``blocks`` of them)."""

    class_embedding: nn.Parameter | None

    def __init__(self, config: VitConfig, blocks: int) -> None:
        super().__init__()
        self._config = config
        width = config.hidden_size
        self.patch_embedding = nn.Linear(config.patch_values, width, bias=config.patch_bias)
        self.positional_embedding = nn.Parameter(torch.empty(config.image_num_pos, width))
        self.class_embedding = nn.Parameter(torch.empty(width)) if config.use_cls_token else None
        self.pre_ln = (
            nn.LayerNorm(width, config.layer_norm_eps) if config.pre_layernorm else nn.Identity()
        )
        self.transformer = _BlockList(config, blocks)

    def forward(self, patches: torch.Tensor) -> list[torch.Tensor]:
        """One tensor a block, [crops, patches (+1 class token, first), hidden], un-normalised."""
        x = self.patch_embedding(patches)
        if self.class_embedding is not None:
            start = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
            x = torch.cat([start, x], dim=1)
        x = self.pre_ln(x + self._positions().to(x.dtype))
        outputs = []
        for block in self.transformer.resblocks:
            x = block(x)
            outputs.append(x)
        return outputs

    def _positions(self) -> torch.Tensor:
        """The position table for this crop size; only its grid part is ever resized."""
        table = self.positional_embedding
        prefix = int(self._config.use_cls_token)
        side = round((table.shape[0] - prefix) ** 0.5)
        if (side, side) == self._config.grid:
            return table
        grid = table[prefix:].reshape(side, side, -1).permute(2, 0, 1)[None]
        resized = functional.interpolate(
            grid.float(), self._config.grid, mode="bicubic", align_corners=False, antialias=True
        )
        flat = resized[0].flatten(1).T.to(table.dtype)
        return torch.cat([table[:prefix], flat])
