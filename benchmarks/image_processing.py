"""How long two camera pictures take to become the model's input, against the obvious way.

``python benchmarks/image_processing.py [--rounds 200] [--out FILE]``

The straightforward implementation follows the published steps one by one: resize with torch,
scale, cut, reorder, twice for the low-resolution crop and its only tile. Both give equal bits or
this script fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from molmoact_ros.model.image_processor import ImageProcessor
from molmoact_ros.model.image_settings import ImageSettings
from molmoact_ros.model.resize import CLIP_MEAN, CLIP_STD

SIZE = (240, 320)
TARGET_MS = 6.0
Pictures = Sequence[NDArray[np.uint8]]


def straightforward(pictures: Pictures, settings: ImageSettings) -> NDArray[np.float32]:
    """Crops [2 * pictures, patches, 588] of small pictures, step by step in torch."""
    crops = []
    for picture in pictures:
        for _ in range(2):  # the low-resolution crop, then the one tile of a small picture
            planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
            crops.append(_siglip(planes, settings) if settings.style == "siglip" else _clip(planes))
    g, p = settings.grid, settings.patch
    stack = torch.cat(crops).reshape(-1, 3, g, p, g, p).permute(0, 2, 4, 3, 5, 1)
    return stack.reshape(len(crops), g * g, p * p * 3).numpy()


def _siglip(planes: torch.Tensor, settings: ImageSettings) -> torch.Tensor:
    size = (settings.size, settings.size)
    resized = functional.interpolate(planes, size, mode="bilinear", align_corners=False)
    return -1 + 2 * (resized.round().clamp(0, 255).to(torch.uint8).float() / 255)


def _clip(planes: torch.Tensor) -> torch.Tensor:
    scale = np.float32(336) / np.float32(planes.shape[-1])
    high, wide = (int(np.float32(side) * scale) for side in planes.shape[-2:])
    resized = functional.interpolate(
        planes / 255, (high, wide), mode="bilinear", align_corners=False, antialias=True
    )
    top = (336 - high) // 2
    padded = functional.pad(resized.clamp(0, 1), (0, 336 - wide, top, 336 - high - top))
    mean, std = (torch.from_numpy(x)[None, :, None, None] for x in (CLIP_MEAN, CLIP_STD))
    return (padded - mean) / std


def timed(work: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds of every round."""
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return times


def measure(name: str, settings: ImageSettings, pictures: Pictures, rounds: int) -> dict:
    processor = ImageProcessor(settings)
    ours, obvious = processor(pictures, multi=True).crops, straightforward(pictures, settings)
    different = int((ours != obvious).sum())
    fast = timed(lambda: processor(pictures, multi=True), rounds)
    slow = timed(lambda: straightforward(pictures, settings), max(10, rounds // 5))
    result = {
        "best_ms": round(min(fast), 2),
        "median_ms": round(statistics.median(fast), 2),
        "straightforward_best_ms": round(min(slow), 2),
        "straightforward_median_ms": round(statistics.median(slow), 2),
        "ratio_of_best": round(min(slow) / min(fast), 1),
        "values": int(ours.size),
        "different_values": different,
        "largest_difference": float(np.abs(ours - obvious).max()),
    }
    print(
        f"{name}: best {result['best_ms']} ms, median {result['median_ms']} ms; step by step "
        f"{result['straightforward_best_ms']} ms; {result['ratio_of_best']} times as fast; "
        f"{different} of {ours.size} values differ"
    )
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    values = parser.parse_args()
    torch.set_num_threads(2)
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(2)]
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "pictures": f"2 of {SIZE[1]}x{SIZE[0]}",
        "target_ms": TARGET_MS,
        "7b-d": measure("7B-D", ImageSettings("siglip", 378), pictures, values.rounds),
        "7b-o": measure("7B-O", ImageSettings("default", 336), pictures, values.rounds),
    }
    if values.out is not None:
        values.out.write_text(json.dumps(results, indent=1) + "\n")
    if any(results[name]["different_values"] for name in ("7b-d", "7b-o")):
        print("the bits differ: a resize step was changed, or this torch rounds differently")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
