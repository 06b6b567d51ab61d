"""Keys and values of the tokens already read.

Plain decoding uses transformers' ``DynamicCache``. The engine reads trees of guesses, which need
buffers that never move and can be written at any place.
"""

from __future__ import annotations

from typing import Protocol

import torch

from molmoact_ros.model.config import LlmConfig


class Cache(Protocol):
    """The part of transformers' ``Cache`` that the network asks for."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store rotated keys and values [B, kv_heads, S, d] of one block; returns all there are."""
        ...


class SlotCache:
    """One sequence in buffers of fixed size and address, shown whole: the mask says what counts.

    ``slots`` int64 [rows] names where the next rows are written; slot = position for every token
    of the answer itself, so a rejected guess is simply written over. Attention runs over the first
    ``visible`` slots. Fixed shapes and addresses are what a CUDA graph needs.
    """

    def __init__(
        self,
        config: LlmConfig,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (1, config.num_key_value_heads, capacity, config.head_dim)
        # Zeros, not garbage: a masked slot is multiplied by zero, which NaN would survive.
        self._keys = [
            torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)
        ]
        self._values = [torch.zeros_like(keys) for keys in self._keys]
        self.capacity = self.visible = capacity
        self.slots = torch.arange(1, device=device)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values [1, kv_heads, rows, d] at ``slots``; returns all visible ones."""
        self._keys[layer_idx].index_copy_(2, self.slots, key_states)
        self._values[layer_idx].index_copy_(2, self.slots, value_states)
        seen = slice(None, self.visible)
        return self._keys[layer_idx][:, :, seen], self._values[layer_idx][:, :, seen]
