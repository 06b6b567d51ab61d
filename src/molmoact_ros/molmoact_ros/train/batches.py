"""Samples to tensors: padded at the end, crops and patch numbers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from molmoact_ros.train.samples import Sample

ROUND_TO = 64


@dataclass(frozen=True, eq=False)
class Batch:
    """ids int64 [B, S], -1 behind the end; targets int64 [B, S - 1], -1 where nothing is learned
    (only answers and their end are). crops [C, patches, values]; pooled int64 [tokens, 4].
    prompt bool [B, S]: tokens before the answer.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    prompt: torch.Tensor
    crops: torch.Tensor
    pooled: torch.Tensor
    kinds: tuple[str, ...]

    @property
    def learned(self) -> int:
        """Tokens that count for the loss."""
        return int((self.targets >= 0).sum())

    def to(self, device: torch.device) -> Batch:
        return replace(
            self,
            ids=self.ids.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            prompt=self.prompt.to(device, non_blocking=True),
            crops=self.crops.to(device, non_blocking=True),
            pooled=self.pooled.to(device, non_blocking=True),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Padding goes behind: with causal attention no token before it ever sees it."""
    longest = max(len(sample.ids) for sample in samples)
    length = -(-longest // ROUND_TO) * ROUND_TO
    ids = np.full((len(samples), length), -1, dtype=np.int64)
    targets = np.full((len(samples), length - 1), -1, dtype=np.int64)
    prompt = np.zeros((len(samples), length), dtype=bool)
    pooled, crops = [], 0
    for row, sample in enumerate(samples):
        count = len(sample.ids)
        ids[row, :count] = sample.ids
        targets[row, sample.answer - 1 : count - 1] = sample.ids[sample.answer :]
        prompt[row, : sample.answer] = True
        patches = sample.crops.shape[1]
        moved = np.where(sample.pooled < 0, -1, sample.pooled + crops * patches)
        pooled.append(moved.astype(np.int64))
        crops += len(sample.crops)
    return Batch(
        ids=torch.from_numpy(ids),
        targets=torch.from_numpy(targets),
        prompt=torch.from_numpy(prompt),
        crops=torch.from_numpy(np.concatenate([sample.crops for sample in samples])),
        pooled=torch.from_numpy(np.concatenate(pooled)),
        kinds=tuple(sample.kind for sample in samples),
    )
