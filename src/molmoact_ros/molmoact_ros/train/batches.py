"""Samples to tensors: padded at the end, crops and patch numbers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from molmoact_ros.train.aims import stacked
from molmoact_ros.train.packing import Packed, alone
from molmoact_ros.train.samples import Sample

ROUND_TO = 64
SEGMENT_ROUND = 16


@dataclass(frozen=True, eq=False)
class Batch:
    """ids int64 [B, S], -1 behind the end; targets int64 [B, S - 1], -1 where nothing is learned
    (only answers and their end are). crops [C, patches, values]; pooled int64 [tokens, 4].
    prompt bool [B, S]: tokens that are not learned. Of packs also segments and positions
    int64 [B, S] (``packing``) and slots, tokens of each segment; landmarks float32 [B, values]
    where all samples have them, aims float32 [B, segments, values] likewise.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    prompt: torch.Tensor
    crops: torch.Tensor
    pooled: torch.Tensor
    kinds: tuple[str, ...]
    segments: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    landmarks: torch.Tensor | None = None
    slots: tuple[int, ...] = ()
    aims: torch.Tensor | None = None

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
            segments=_moved(self.segments, device),
            positions=_moved(self.positions, device),
            landmarks=_moved(self.landmarks, device),
            aims=_moved(self.aims, device),
        )


def collate(samples: Sequence[Sample | Packed]) -> Batch:
    """Padding goes behind: with causal attention no token before it ever sees it. In packs it goes
    behind every segment, so that segments stand at the same places in all rows.
    """
    packs = [alone(one) if isinstance(one, Sample) else one for one in samples]
    slots = _slots(packs)
    shape = (len(packs), sum(slots))
    ids = np.full(shape, -1, dtype=np.int64)
    targets = np.full((shape[0], shape[1] - 1), -1, dtype=np.int64)
    prompt = np.zeros(shape, dtype=bool)
    segments = np.full(shape, -1, dtype=np.int64)
    positions = np.tile(np.arange(shape[1]), (shape[0], 1))
    starts = np.cumsum([0, *slots[:-1]])
    pooled, crops = [], 0
    for row, pack in enumerate(packs):
        first = np.searchsorted(pack.segment, pack.segment)
        place = starts[pack.segment] + np.arange(len(pack.ids)) - first
        ids[row, place] = pack.ids if pack.heard is None else pack.heard
        taught = np.flatnonzero(pack.learned)
        # The token before an answer stands in the same segment: it is the question's last.
        targets[row, place[taught] - 1] = pack.ids[taught]
        prompt[row, place] = ~pack.learned
        segments[row, place], positions[row, place] = pack.segment, pack.position
        patches = pack.crops.shape[1]
        moved = np.where(pack.pooled < 0, -1, pack.pooled + crops * patches)
        pooled.append(moved.astype(np.int64))
        crops += len(pack.crops)
    several = len(slots) > 1
    marks = [pack.landmarks for pack in packs if pack.landmarks is not None]
    return Batch(
        ids=torch.from_numpy(ids),
        targets=torch.from_numpy(targets),
        prompt=torch.from_numpy(prompt),
        crops=torch.from_numpy(np.concatenate([pack.crops for pack in packs])),
        pooled=torch.from_numpy(np.concatenate(pooled)),
        kinds=tuple(pack.kind for pack in packs),
        segments=torch.from_numpy(segments) if several else None,
        positions=torch.from_numpy(positions.astype(np.int64)) if several else None,
        landmarks=torch.from_numpy(np.stack(marks)) if len(marks) == len(packs) else None,
        slots=slots if several else (),
        aims=stacked([pack.aims for pack in packs], len(slots) - 1) if several else None,
    )


def _slots(packs: Sequence[Packed]) -> tuple[int, ...]:
    """Tokens of every segment, the longest of the batch counts; a little padding keeps the number
    of different shapes small.
    """
    several = max(int(pack.segment[-1]) for pack in packs) + 1
    counts = np.array([np.bincount(pack.segment, minlength=several) for pack in packs]).max(axis=0)
    if several == 1:
        return (int(-(-counts[0] // ROUND_TO)) * ROUND_TO,)
    return (int(counts[0]), *(int(-(-n // SEGMENT_ROUND)) * SEGMENT_ROUND for n in counts[1:]))


def _moved(values: torch.Tensor | None, device: torch.device) -> torch.Tensor | None:
    return None if values is None else values.to(device, non_blocking=True)
