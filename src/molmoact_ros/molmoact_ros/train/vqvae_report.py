"""How good a depth VQ-VAE is on maps it has never seen: its error and the use of its codes.

``molmoact vqvae report`` prints the numbers of a weights' card: reconstruction error, use of the
codebook, and the rank correlation (Spearman) between the decoded picture and the true depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from molmoact_ros.model.depth_codec import GRID, DepthCodec
from molmoact_ros.reasoning.depth_image import VQVAE_SIZE, relative_depth_u8
from molmoact_ros.train.codebook import usage
from molmoact_ros.train.depth_shards import DepthMaps, map_of

HELD_OUT_SEED = 99
EXAMPLES = 8

_EVERY = 3
"""Every third pixel is plenty for a correlation and nine times faster to rank."""


@dataclass(frozen=True)
class VqVaeReport:
    """Numbers over ``frames``. mse: of pictures in 0..1. perplexity: 2^entropy of the codes.

    spearman: decoded picture against 1/depth, a value a frame; at the rendered resolution in the
    simulation, against the map itself otherwise. blind_spearman_median: the same for one picture,
    the average of all frames. The room alone explains that much, so only what lies above it is the
    codes' merit.
    """

    frames: int
    mse: float
    mse_p5: float
    mse_p95: float
    codes_used: int
    perplexity: float
    spearman_median: float
    spearman_p5: float
    spearman_p95: float
    spearman_min: float
    blind_spearman_median: float


@dataclass(frozen=True, eq=False)
class Example:
    """wanted: map uint8 [320, 320]; decoded float32 [320, 320] in 0..1; codes [10, 10]."""

    wanted: NDArray[np.uint8]
    decoded: NDArray[np.float32]
    codes: NDArray[np.uint8]
    mse: float
    spearman: float


@dataclass(frozen=True, eq=False)
class Findings:
    """numbers; counts [K] of every code; brightness [K], mean 0..1 of the pixels a code stands
    for (NaN: unused); a few examples over everything, and the worst frame.
    """

    numbers: VqVaeReport
    counts: NDArray[np.int64]
    brightness: NDArray[np.float64]
    examples: tuple[Example, ...]
    worst: Example


def spearman(decoded: NDArray[np.float32], metres: NDArray[np.float32]) -> float:
    """Rank correlation of a decoded picture [320, 320] with the inverse of depth [H, W]."""
    return _ranked(decoded, -metres)


def report(codec: DepthCodec, frames: Iterable[NDArray[np.float32]]) -> VqVaeReport:
    """Measure ``codec`` on depth frames in metres. Raises ValueError without any frame."""
    return of_simulation(codec, list(frames)).numbers


def of_simulation(codec: DepthCodec, frames: Iterable[NDArray[np.float32]]) -> Findings:
    """Measure on depth frames [H, W] in metres. Raises ValueError without any frame."""
    listed = list(frames)
    pairs = ((map_of(relative_depth_u8(m, source="sensor")), -m) for m in listed)
    return _measured(codec, pairs, len(listed))


def of_maps(codec: DepthCodec, maps: DepthMaps, most: int) -> Findings:
    """Measure on at most ``most`` maps, spread over all. Raises BadData for a damaged shard."""
    numbers = maps.spread(most)
    pictures = (maps[i] for i in numbers)
    return _measured(codec, ((m, m.astype(np.float32)) for m in pictures), len(numbers))


def _measured(
    codec: DepthCodec,
    pairs: Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]],
    total: int,
) -> Findings:
    """Of pairs: a map, and depth [H, W] by which it is ranked, large = near."""
    if not total:
        raise ValueError("No depth frame to report on; ask for at least one.")
    shown = set(np.linspace(0, total - 1, min(EXAMPLES - 1, total)).astype(int).tolist())
    examples: list[Example] = []
    worst: Example | None = None
    errors, ranks, truths = [], [], []
    average = np.zeros((VQVAE_SIZE, VQVAE_SIZE), dtype=np.float64)
    counts, light = np.zeros(codec.codes, np.int64), np.zeros(codec.codes)
    for number, (picture, truth) in enumerate(pairs):
        codes = codec.encode_picture(picture)
        decoded = codec.decode(codes)
        wanted = picture.astype(np.float32) / np.float32(255.0)
        error = float(np.mean((decoded - wanted) ** 2))
        one = Example(picture, decoded, codes, error, _ranked(decoded, truth))
        errors.append(error)
        ranks.append(one.spearman)
        truths.append(truth)
        average += wanted
        counts += np.bincount(codes.ravel(), minlength=codec.codes)
        cells = cv2.resize(wanted, GRID, interpolation=cv2.INTER_AREA)
        light += np.bincount(codes.ravel(), cells.ravel(), codec.codes)
        if number in shown:
            examples.append(one)
        if worst is None or error > worst.mse:
            worst = one
    assert worst is not None
    blind = [_ranked((average / total).astype(np.float32), truth) for truth in truths]
    used, perplexity = usage(counts.astype(np.float64))
    numbers = VqVaeReport(
        frames=total,
        mse=float(np.mean(errors)),
        mse_p5=float(np.percentile(errors, 5)),
        mse_p95=float(np.percentile(errors, 95)),
        codes_used=used,
        perplexity=perplexity,
        spearman_median=float(np.median(ranks)),
        spearman_p5=float(np.percentile(ranks, 5)),
        spearman_p95=float(np.percentile(ranks, 95)),
        spearman_min=float(np.min(ranks)),
        blind_spearman_median=float(np.median(blind)),
    )
    brightness = np.where(counts > 0, light / np.maximum(counts, 1), np.nan)
    return Findings(numbers, counts, brightness, tuple(examples), worst)


def _ranked(decoded: NDArray[np.float32], truth: NDArray[np.floating]) -> float:
    """Rank correlation 0..1 at the truth's resolution [H, W]; 0 where one of them is flat."""
    height, width = truth.shape
    picture = decoded
    if decoded.shape != truth.shape:
        picture = cv2.resize(decoded, (width, height), interpolation=cv2.INTER_AREA)
    a, b = picture[::_EVERY, ::_EVERY].ravel(), truth[::_EVERY, ::_EVERY].ravel()
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(spearmanr(a, b).statistic)
