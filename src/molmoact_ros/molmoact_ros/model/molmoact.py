"""The whole network: pictures and token ids in, next-token logits out.

Parameter names are exactly those of released checkpoints. See docs/architecture.md for what
happens before (image_processor, tokenizer) and after (engine, reasoning).
"""

from __future__ import annotations

import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from molmoact_ros.model.config import MolmoActConfig
from molmoact_ros.model.connector import VisionBackbone
from molmoact_ros.model.language import LanguageModel


class _Backbone(nn.Module):
    def __init__(self, config: MolmoActConfig) -> None:
        super().__init__()
        self.transformer = LanguageModel(config.llm)
        self.vision_backbone = VisionBackbone(config)


class MolmoAct(nn.Module):
    """MolmoAct (arXiv 2508.07917), any size. Weights are uninitialised until loaded."""

    def __init__(self, config: MolmoActConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _Backbone(config)
        self.lm_head = nn.Linear(config.llm.hidden_size, config.llm.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    def encode_images(
        self,
        crops: torch.Tensor,
        pooled_patches: torch.Tensor,
        *,
        masks: torch.Tensor | None = None,
        same_as: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Image features [tokens, hidden]; arguments as in ``connector.VisionBackbone``."""
        return self.model.vision_backbone(  # type: ignore[no-any-return]
            crops.to(self.device, self.dtype),
            pooled_patches.to(self.device),
            masks=None if masks is None else masks.to(self.device),
            same_as=None if same_as is None else same_as.to(self.device),
        )

    def embed(self, ids: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        """Token embeddings [B, S, hidden] with image features ADDED at image-patch positions.

        ids int [B, S]; features [N, hidden] in reading order, N = number of patch tokens in all
        rows. Raises ValueError when the counts differ.
        """
        x = self.model.transformer.wte(ids)
        spots = ids == self.config.image_patch_id
        wanted, given = int(spots.sum()), 0 if features is None else features.shape[0]
        if wanted != given:
            raise ValueError(
                f"the prompt has {wanted} image-patch tokens but there are {given} image features; "
                "build both from the same processed pictures"
            )
        if features is not None:
            x[spots] = x[spots] + features.to(x.dtype)
        return x  # type: ignore[no-any-return]

    def hidden(
        self,
        embeddings: torch.Tensor,
        cache: DynamicCache | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Final hidden states [B, S, hidden] of new tokens that follow what the cache holds.

        attention_mask [B, past + S], 0 = padding; None = every token counts. Positions count the
        tokens that count. Raises ValueError when the context window is too short.
        """
        batch, new = embeddings.shape[:2]
        past = int(cache.get_seq_length()) if cache is not None else 0
        total = past + new
        limit = self.config.llm.max_position_embeddings
        if total > limit:
            raise ValueError(
                f"{total} tokens exceed the {limit} this model can hold; "
                "use smaller pictures or a shorter answer"
            )
        device = embeddings.device
        if attention_mask is None:
            positions = torch.arange(past, total, device=device).expand(batch, new)
            mask = _causal(past, new, device)[None, None] if past and new > 1 else None
        else:
            seen = attention_mask.to(device).bool()
            positions = (seen.long().cumsum(-1) - 1).clamp(min=0)[:, past:]
            causal = _causal(past, new, device)
            # Padding sees itself: a row without any key would turn into NaN and spread.
            own = torch.zeros_like(causal)
            own[:, past:].fill_diagonal_(True)
            mask = ((causal & seen[:, None, :]) | own)[:, None]
        return self.model.transformer(  # type: ignore[no-any-return]
            embeddings, positions, mask, cache
        )

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token logits [..., vocab_size] for the hidden states given, no others."""
        return self.lm_head(hidden)  # type: ignore[no-any-return]


def _causal(past: int, new: int, device: torch.device) -> torch.Tensor:
    """Boolean [new, past + new]: token i sees the past and the new tokens up to itself."""
    return torch.ones(new, past + new, dtype=torch.bool, device=device).tril(past)
