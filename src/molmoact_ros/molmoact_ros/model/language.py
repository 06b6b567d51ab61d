"""The causal language model of MolmoAct: Qwen2.5 style (7B-D, nano) and OLMo2 style (7B-O).

Norm, rotation and activation are those of transformers' Qwen2, which both styles share here
(OLMo2's own norm multiplies in another precision than the released model does). The blocks are
ours: released checkpoints hold query, key and value in one matrix, up and gate in another, and
the engine reads token trees through buffers at fixed addresses.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm, apply_rotary_pos_emb

from molmoact_ros.model.attention import attend, split_heads
from molmoact_ros.model.cache import Cache
from molmoact_ros.model.config import LlmConfig

Rotation = tuple[torch.Tensor, torch.Tensor]


def rotary(positions: torch.Tensor, head_dim: int, theta: float) -> Rotation:
    """cos and sin [B, S, head_dim] in float32 for positions [B, S] (rotate-half layout).

    Computed in every forward: transformers keeps the frequencies in a buffer, which is in no
    checkpoint and stays empty when a network is built without memory (meta device).
    """
    steps = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.int64).float()
    frequencies = 1.0 / (theta ** (steps / head_dim))
    angles = positions[:, :, None].float() * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


class SelfAttention(nn.Module):
    def __init__(self, config: LlmConfig, layer: int) -> None:
        super().__init__()
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self._split = (queries, keys, keys)
        self._layer = layer
        self._head_dim = config.head_dim
        self.att_proj = nn.Linear(config.hidden_size, sum(self._split), bias=config.qkv_bias)
        self.attn_out = nn.Linear(queries, config.hidden_size, bias=False)
        # OLMo2 normalises the whole projection, before heads are split off and turned.
        self.q_norm: nn.Module = nn.Identity()
        self.k_norm: nn.Module = nn.Identity()
        if config.use_qk_norm:
            self.q_norm = Qwen2RMSNorm(queries, config.layer_norm_eps)
            self.k_norm = Qwen2RMSNorm(keys, config.layer_norm_eps)

    def forward(
        self,
        x: torch.Tensor,
        rotation: Rotation,
        mask: torch.Tensor | None,
        cache: Cache | None,
    ) -> torch.Tensor:
        q, k, v = self.att_proj(x).split(self._split, dim=-1)
        q = split_heads(self.q_norm(q), self._head_dim)
        k = split_heads(self.k_norm(k), self._head_dim)
        v = split_heads(v, self._head_dim)
        cos, sin = (part.to(x.dtype) for part in rotation)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        if cache is not None:
            k, v = cache.update(k, v, self._layer)
        # Without a mask: either a whole prefix (causal) or one new token that sees everything.
        causal = mask is None and q.shape[2] > 1
        return self.attn_out(attend(q, k, v, mask, causal=causal))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """SwiGLU. The FIRST half of ``ff_proj`` is the plain factor, the second half the gate."""

    def __init__(self, config: LlmConfig) -> None:
        super().__init__()
        self.ff_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.ff_out = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self._act = ACT2FN[config.hidden_act]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        up, gate = self.ff_proj(x).chunk(2, dim=-1)
        return self.ff_out(self._act(gate) * up)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Norms before each branch (7B-D) or on each branch's output (7B-O, ``norm_after``)."""

    def __init__(self, config: LlmConfig, layer: int) -> None:
        super().__init__()
        self._norm_after = config.norm_after
        self.self_attn = SelfAttention(config, layer)
        self.mlp = Mlp(config)
        self.attn_norm = Qwen2RMSNorm(config.hidden_size, config.layer_norm_eps)
        self.ff_norm = Qwen2RMSNorm(config.hidden_size, config.layer_norm_eps)

    def forward(
        self,
        x: torch.Tensor,
        rotation: Rotation,
        mask: torch.Tensor | None,
        cache: Cache | None,
    ) -> torch.Tensor:
        if self._norm_after:
            x = x + self.attn_norm(self.self_attn(x, rotation, mask, cache))
            return x + self.ff_norm(self.mlp(x))  # type: ignore[no-any-return]
        x = x + self.self_attn(self.attn_norm(x), rotation, mask, cache)
        return x + self.mlp(self.ff_norm(x))  # type: ignore[no-any-return]


class TokenEmbedding(nn.Module):
    """Two tables: the vocabulary, and the ids above it that can be read but never written."""

    def __init__(self, config: LlmConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, width))
        self.new_embedding = nn.Parameter(torch.empty(config.additional_vocab_size, width))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [B, S] to [B, S, hidden]; -1 (padding) reads row 0."""
        ids = ids.clamp(min=0)
        known = self.embedding.shape[0]
        extra = ids >= known
        # Two look-ups instead of one joined table, which would copy 2 GB for a 7B model.
        rows = functional.embedding(ids.masked_fill(extra, 0), self.embedding)
        new = functional.embedding((ids - known).clamp(min=0), self.new_embedding)
        return torch.where(extra.unsqueeze(-1), new, rows)


class LanguageModel(nn.Module):
    """Embedded tokens to hidden states after the final norm."""

    def __init__(self, config: LlmConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = TokenEmbedding(config)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.ln_f = Qwen2RMSNorm(config.hidden_size, config.layer_norm_eps)

    def forward(
        self,
        x: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None = None,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """x [B, S, hidden], positions int [B, S], mask boolean [B, 1, S, past + S] or None."""
        rotation = rotary(positions, self.config.head_dim, self.config.rope_theta)
        for block in self.blocks:
            x = block(x, rotation, mask, cache)
        return self.ln_f(x)  # type: ignore[no-any-return]
