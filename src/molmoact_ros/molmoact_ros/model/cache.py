"""Keys and values of the tokens already read, in buffers that never move."""

from __future__ import annotations

import torch

from molmoact_ros.model.config import LlmConfig


class KeyValueCache:
    """Fixed buffers [batch, kv_heads, capacity, head_dim] per block; keys are stored rotated.

    Every block writes the same new positions, then ``advance`` makes them part of the past.
    ``truncate`` forgets the newest tokens again (a rejected guess).
    """

    def __init__(
        self,
        config: LlmConfig,
        capacity: int,
        batch: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch, config.num_key_value_heads, capacity, config.head_dim)
        self._keys = [
            torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)
        ]
        self._values = [torch.zeros_like(keys) for keys in self._keys]
        self.capacity = capacity
        self.length = 0

    def write(
        self, layer: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store new keys and values [B, kv_heads, S, d]; returns past and new together."""
        end = self.length + keys.shape[2]
        self._keys[layer][:, :, self.length : end] = keys
        self._values[layer][:, :, self.length : end] = values
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def advance(self, tokens: int) -> None:
        """The last ``tokens`` written belong to the past now."""
        self.length += tokens

    def truncate(self, length: int) -> None:
        """Keep only the first ``length`` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} of {self.length} cached tokens")
        self.length = length


class SlotCache(KeyValueCache):
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
        # Zeros, not garbage: a masked slot is multiplied by zero, which NaN would survive.
        super().__init__(config, capacity, 1, device, dtype)
        self.visible = capacity
        self.slots = torch.arange(1, device=device)

    def write(
        self, layer: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values [1, kv_heads, rows, d] at ``slots``; returns all visible ones."""
        self._keys[layer].index_copy_(2, self.slots, keys)
        self._values[layer].index_copy_(2, self.slots, values)
        seen = slice(None, self.visible)
        return self._keys[layer][:, :, seen], self._values[layer][:, :, seen]

    def advance(self, tokens: int) -> None:
        """Nothing: the owner of ``slots`` counts."""
