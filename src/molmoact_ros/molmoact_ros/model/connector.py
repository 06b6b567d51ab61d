"""From ViT patches to rows for the language model: 2x2 attention pooling and projector."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from molmoact_ros.model.attention import attend, split_heads
from molmoact_ros.model.config import AdapterConfig, MolmoActConfig
from molmoact_ros.model.vision import Vit


class AttentionPooling(nn.Module):
    """One query (the mean) attends over the patches of a window. Nothing is masked: an empty
    slot is a zero vector and takes part through the biases, as the released weights expect.
    """

    def __init__(self, config: AdapterConfig, input_size: int) -> None:
        super().__init__()
        inner = config.num_attention_heads * config.head_dim
        self.wq = nn.Linear(input_size, inner)
        self.wk = nn.Linear(input_size, inner)
        self.wv = nn.Linear(input_size, inner)
        self.wo = nn.Linear(inner, config.hidden_size)
        self._head_dim = config.head_dim
        self._in_float32 = config.float32_attention

    def forward(self, query: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        """query [N, 1, C], slots [N, 4, C] to [N, 1, hidden]."""
        q = split_heads(self.wq(query), self._head_dim)
        k, v = (split_heads(w(slots), self._head_dim) for w in (self.wk, self.wv))
        return self.wo(attend(q, k, v, in_float32=self._in_float32))  # type: ignore[no-any-return]


class Projector(nn.Module):
    """w2(silu(w1 x) * w3 x): no bias, residual or norm."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, config.text_hidden_size, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))  # type: ignore[no-any-return]


class VisionBackbone(nn.Module):
    """Crops to one feature row per pooled image token."""

    pad_embed: nn.Parameter | None

    def __init__(self, config: MolmoActConfig) -> None:
        super().__init__()
        width = config.vit.hidden_size * len(config.adapter.vit_layers)
        self._layers = config.vit_layer_indices
        self._class_tokens = int(config.vit.use_cls_token)
        self.image_vit = Vit(config.vit, config.vit_blocks)
        self.image_pooling_2d = AttentionPooling(config.adapter, width)
        self.image_projector = Projector(config.adapter)
        padded = config.adapter.image_padding_embed is not None
        self.pad_embed = nn.Parameter(torch.zeros(2, width)) if padded else None

    def patch_features(self, crops: torch.Tensor) -> torch.Tensor:
        """Crops [C, patches, 588] to [C, patches, width]: chosen blocks side by side."""
        outputs = self.image_vit(crops)
        return torch.cat([outputs[i][:, self._class_tokens :] for i in self._layers], dim=-1)

    def forward(
        self,
        crops: torch.Tensor,
        pooled_patches: torch.Tensor,
        *,
        masks: torch.Tensor | None = None,
        same_as: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Image features [tokens, text_hidden].

        crops [C, patches, 588]; pooled_patches int [tokens, 4], flat patch numbers
        (crop * patches + patch), -1 = empty slot. ``masks`` [C, patches] (share of real pixels)
        adds the padding embedding as in training of 7B-O; released inference leaves it out.
        ``same_as`` int [C] names for every crop an identical one; each is encoded once.
        Rows whose four slots are all empty (from batching) are dropped.
        """
        if same_as is None:
            features = self.patch_features(crops)
        else:
            unique, place = torch.unique(same_as, return_inverse=True)
            features = self.patch_features(crops[unique])[place]
        if masks is not None and self.pad_embed is not None:
            padding = (masks == 0).unsqueeze(-1) * self.pad_embed[0]
            partial = ((masks > 0) & (masks < 1)).unsqueeze(-1) * self.pad_embed[1]
            features = features + (padding + partial).to(features.dtype)
        index = pooled_patches[(pooled_patches >= 0).any(-1)]
        slots = features.flatten(0, 1)[index.clamp(min=0)]
        slots = slots * (index >= 0).unsqueeze(-1).to(slots.dtype)
        pooled = self.image_pooling_2d(slots.mean(-2, keepdim=True), slots)
        return self.image_projector(pooled.squeeze(1))  # type: ignore[no-any-return]
