"""Depth codes of every tick: from the sensor, or from an estimator where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from molmoact_ros.data.pictures import metres_of
from molmoact_ros.data.recording import BadEpisode, Picture
from molmoact_ros.model.codebook import PACKAGE_WEIGHTS, codebook_of
from molmoact_ros.model.depth_vqvae import DepthVqVae
from molmoact_ros.model.depth_weights import load_depth_vqvae
from molmoact_ros.reasoning.depth_image import relative_depth_u8, vqvae_input

BATCH = 16


class DepthEstimator(Protocol):
    """Relative inverse depth from one RGB picture."""

    def estimate(self, rgb: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """uint8 [H, W, 3] to float32 [H, W], large = near, any scale."""
        ...


class DepthLabeller:
    """Codes with one VQ-VAE. ``weights`` None: those of this package."""

    def __init__(
        self, weights: Path | None = None, estimator: DepthEstimator | None = None
    ) -> None:
        self._network: DepthVqVae = load_depth_vqvae(weights or PACKAGE_WEIGHTS).eval()
        self._estimator = estimator
        self.codebook = codebook_of(weights or PACKAGE_WEIGHTS)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Of the code book: [K, C]."""
        return np.asarray(self._network.codebook.vectors.numpy(), dtype=np.float32)

    def from_sensor(self, frames: Sequence[Picture | None]) -> NDArray[np.uint8]:
        """Codes [T, 100]. A missing frame takes the one before it. Raises BadEpisode."""
        if not frames or frames[0] is None:
            raise BadEpisode(
                "no depth at the first tick; record the aligned depth topic, or set depth_source "
                "to estimate or none"
            )
        pictures: list[NDArray[np.uint8]] = []
        for frame in frames:
            if frame is None:
                pictures.append(pictures[-1])
                continue
            try:
                pictures.append(relative_depth_u8(metres_of(frame), source="sensor"))
            except ValueError as error:
                raise BadEpisode(f"depth: {error}") from error
        return self._encoded(pictures)

    def from_pictures(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Codes [T, 100] of RGB pictures through the estimator."""
        if self._estimator is None:
            raise BadEpisode("no estimator for depth_source estimate; pass --depth-estimator")
        return self._encoded(
            [relative_depth_u8(self._estimator.estimate(f), source="relative") for f in frames]
        )

    def _encoded(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        codes = []
        for start in range(0, len(pictures), BATCH):
            batch = np.concatenate([vqvae_input(p) for p in pictures[start : start + BATCH]])
            with torch.inference_mode():
                found = self._network.encode(torch.from_numpy(batch))
            codes.append(found.numpy().reshape(len(batch), -1).astype(np.uint8))
        return np.concatenate(codes)


@dataclass(frozen=True)
class Agreement:
    """How alike two sources of depth are to one code book. Shares 0..1; frames compared."""

    equal_codes: float
    cosine: float
    frames: int

    @property
    def accepted(self) -> bool:
        """Starting values, to be revised with data: 60 % equal codes or mean cosine 0.9."""
        return self.frames > 0 and (self.equal_codes >= 0.6 or self.cosine >= 0.9)


def agreement(
    a: NDArray[np.uint8], b: NDArray[np.uint8], vectors: NDArray[np.float32]
) -> Agreement:
    """Codes [T, 100] of two sources for the same frames; vectors [K, C] of the code book."""
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"codes of two sources have shapes {a.shape} and {b.shape}; expected one")
    if not len(a):
        return Agreement(0.0, 0.0, 0)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosine = float((unit[a] * unit[b]).sum(axis=-1).mean())
    return Agreement(float((a == b).mean()), cosine, len(a))
