"""Statistics of features as LeRobot keeps them: whole sets in meta/stats.json, episodes in a row.

Every feature has min, max, mean, std, five quantiles (lists as long as the feature) and count [1];
pictures have values 0..1 of shape [3][1][1] from sampled frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Described = dict[str, NDArray[np.float64]]
SAMPLED = 100
"""Frames an episode and camera whose pixels are counted."""
_PIXELS = 4
_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def described(values: NDArray[Any]) -> Described:
    """Of numbers [T, W]."""
    wide = values.astype(np.float64)
    quantiles = np.quantile(wide, list(_QUANTILES.values()), axis=0)
    return {
        "min": wide.min(0),
        "max": wide.max(0),
        "mean": wide.mean(0),
        "std": wide.std(0),
        **dict(zip(_QUANTILES, quantiles, strict=True)),
        "count": np.array([len(values)], dtype=np.float64),
    }


def sampled(count: int) -> set[int]:
    """Which of ``count`` frames are counted."""
    return set(np.linspace(0, count - 1, min(count, SAMPLED)).round().astype(int).tolist())


def described_pictures(frames: Sequence[NDArray[np.uint8]]) -> Described:
    """Of RGB pictures uint8 [H, W, 3], every fourth row and column of them."""
    pixels = [frame[::_PIXELS, ::_PIXELS].reshape(-1, 3) for frame in frames]
    found = described(np.concatenate(pixels) / 255.0)
    shaped = {name: values.reshape(3, 1, 1) for name, values in found.items() if name != "count"}
    return {**shaped, "count": np.array([len(frames)], dtype=np.float64)}


def together(parts: Sequence[Described]) -> Described:
    """Of episodes, one whole. Quantiles are means weighted by count, as LeRobot takes them."""
    counts = np.array([part["count"][0] for part in parts])
    weights = counts / counts.sum()

    def mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.asarray(np.tensordot(weights, np.stack(values), axes=1))

    centre = mean([part["mean"] for part in parts])
    spread = mean([part["std"] ** 2 + (part["mean"] - centre) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": centre,
        "std": np.sqrt(spread),
        **{name: mean([part[name] for part in parts]) for name in _QUANTILES},
        "count": np.array([counts.sum()]),
    }


def plain(table: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """As lists for JSON and parquet, counts as integers."""
    return {
        name: values.astype(np.int64).tolist() if name == "count" else values.tolist()
        for name, values in table.items()
    }
