"""The language model over packs whose segments stand at the same places in every row.

Instead of one mask over everything (most of it empty) every segment attends to the pictures and to
itself: a third of the work for three questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from molmoact_ros.model.attention import split_heads
from molmoact_ros.model.language import Block, LanguageModel, Rotation, rotary
from molmoact_ros.model.molmoact import MolmoAct
from molmoact_ros.model.vision import VitAttention, VitBlock

Slots = tuple[int, ...]


def packed_hidden(
    model: LanguageModel, rows: torch.Tensor, positions: torch.Tensor, slots: Slots
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states [B, S, hidden]: final, after the first block, half way up. slots: tokens of the
    common part and of each segment, S in all. Same result as ``LanguageModel`` with the mask of
    ``loss.segment_mask``.
    """
    rotation = rotary(positions, model.config.head_dim, model.config.rope_theta)
    masks = [_mask(slots[0], own, rows.device) for own in slots[1:]]
    x = early = middle = rows
    for number, block in enumerate(model.blocks):
        early = x if number == 1 else early
        middle = x if number == len(model.blocks) // 2 else middle
        assert isinstance(block, Block)
        x = x + _attended(block, block.attn_norm(x), rotation, slots, masks, model.config.head_dim)
        x = x + block.mlp(block.ff_norm(x))
    return model.ln_f(x), early, middle


def _mask(common: int, own: int, device: torch.device) -> torch.Tensor:
    """Boolean [own, common + own]: all that is common, and the own part up to itself."""
    return torch.ones(own, common + own, dtype=torch.bool, device=device).tril(common)


def _attended(
    block: Block,
    x: torch.Tensor,
    rotation: Rotation,
    slots: Slots,
    masks: Sequence[torch.Tensor],
    head_dim: int,
) -> torch.Tensor:
    attention = block.self_attn
    heads = attention.attn_out.in_features // head_dim
    projected = attention.att_proj(x).unflatten(-1, (-1, head_dim)).transpose(1, 2)
    kv_heads = (projected.shape[1] - heads) // 2
    q, k, v = projected.split((heads, kv_heads, kv_heads), dim=1)
    cos, sin = (part.to(q.dtype) for part in rotation)
    q, k = apply_rotary_pos_emb(q, k, cos, sin)
    if kv_heads != heads:
        k, v = (part.repeat_interleave(heads // kv_heads, dim=1) for part in (k, v))
    parts_q, parts_k, parts_v = (part.split(slots, dim=2) for part in (q, k, v))
    first = _mask(0, slots[0], x.device)
    found = [attend(parts_q[0], parts_k[0], parts_v[0], first)]
    for number, mask in enumerate(masks, 1):
        keys = torch.cat([parts_k[0], parts_k[number]], dim=2)
        values = torch.cat([parts_v[0], parts_v[number]], dim=2)
        found.append(attend(parts_q[number], keys, values, mask))
    joined = torch.cat(found, dim=2).transpose(1, 2).flatten(2)
    return attention.attn_out(joined)  # type: ignore[no-any-return]


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v of [B, heads, Q or K, d]; mask boolean [Q, K], True may be seen.

    On a CPU as plain matrix products: PyTorch 2.13 computes the gradient of its own attention in
    bfloat16 two to seven times slower (measured at these shapes).
    """
    if query.device.type != "cpu":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    shape, keys = query.shape, key.shape[2]
    q, k, v = (part.flatten(0, 1) for part in (query, key, value))
    bias = q.new_zeros(1, shape[2], keys)
    if mask is not None:
        bias = bias.masked_fill(~mask, float("-inf"))
    bias = bias.expand(len(q), -1, -1)
    scores = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=shape[-1] ** -0.5)
    return torch.bmm(functional.softmax(scores, dim=-1), v).view(shape)


def quick_vision(network: MolmoAct) -> None:
    """Let the vision transformer use ``attend`` while it is trained."""

    def quick(attention: VitAttention) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(x: torch.Tensor) -> torch.Tensor:
            parts = (
                split_heads(w(x), head_dim) for w in (attention.wq, attention.wk, attention.wv)
            )
            return attention.wo(attend(*parts).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

        return forward

    head_dim = network.config.vit.head_dim
    for block in network.model.vision_backbone.image_vit.transformer.resblocks:
        assert isinstance(block, VitBlock)
        block.attention.forward = quick(block.attention)  # type: ignore[method-assign,assignment]


def fits(model: LanguageModel) -> bool:
    """Whether the model is of the kind this module computes (norms before, none on queries)."""
    return not (model.config.norm_after or model.config.use_qk_norm)
