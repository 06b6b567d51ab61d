"""Scaled dot-product attention as all three parts of the network use it."""

from __future__ import annotations

import torch
from torch.nn import functional


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    causal: bool = False,
    in_float32: bool = False,
) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v.

    query [B, heads, Q, d]; key and value [B, kv_heads, K, d], where kv_heads divides heads and
    key head k serves a run of neighbouring query heads. mask is boolean [B or 1, 1, Q, K], True
    where a key may be seen, or is added to the scores; ``causal`` (Q == K) replaces it. A mask
    from ``mask_per_group`` [1, 1, groups * Q, K] selects the same sum without copying keys. With
    ``in_float32`` scores and sum are computed in float32 and the result is cast back. Returns
    [B, Q, heads * d].
    """
    dtype = query.dtype
    if in_float32:
        query, key, value = query.float(), key.float(), value.float()
    groups, rows = query.shape[1] // key.shape[1], query.shape[2]
    if mask is not None and groups > 1 and mask.shape[-2] == groups * rows:
        folded = query.unflatten(1, (key.shape[1], groups)).flatten(2, 3)
        out = functional.scaled_dot_product_attention(folded, key, value, attn_mask=mask)
        out = out.unflatten(2, (groups, rows)).flatten(1, 2)
        return out.to(dtype).transpose(1, 2).flatten(2)
    out = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=causal,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.to(dtype).transpose(1, 2).flatten(2)


def mask_per_group(mask: torch.Tensor, groups: int) -> torch.Tensor:
    """Mask [1, 1, Q, K] for query heads that share a key head as further rows [1, 1, g * Q, K]."""
    return mask.repeat(1, 1, groups, 1)


def split_heads(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    """[B, S, heads * head_dim] to [B, heads, S, head_dim]."""
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)
