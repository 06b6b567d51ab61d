"""Writes weights in the released layout: shards of limited size and an index that names them.

Tensors are asked for one shard at a time, so a model larger than the memory can be written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save_file

from molmoact_ros.model.weight_files import INDEX, WEIGHTS, Progress

SHARD_BYTES = 5 * 10**9
"""The largest file of a released checkpoint (the hub's custom)."""

Make = Callable[[str], torch.Tensor]


def write_weights(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype_of: Callable[[str], torch.dtype],
    make: Make,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> list[Path]:
    """Write every tensor of ``shapes``, in that order; ``make`` is called once for each.

    One file if all fits in it, else numbered shards and an index. A file appears under its name
    when it is complete, and files of an earlier save go last, so that whoever has the old ones
    mapped keeps them. Returns the paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {name: prod(shape) * dtype_of(name).itemsize for name, shape in shapes.items()}
    shards = split(sizes, shard_bytes)
    total, done, weight_map = sum(sizes.values()), 0, {}
    paths: list[Path] = []
    for number, names in enumerate(shards, 1):
        file = WEIGHTS
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {}
        for name in names:
            tensors[name] = make(name).to("cpu", dtype_of(name)).contiguous()
            done += sizes[name]
            if progress is not None:
                progress(done, total)
        scratch = folder / f"{file}.part"
        save_file(tensors, str(scratch), metadata={"format": "pt"})
        scratch.chmod(0o644)  # safetensors writes files only their owner can read
        scratch.replace(folder / file)
        weight_map.update(dict.fromkeys(names, file))
        paths.append(folder / file)
    _finish(folder, paths, weight_map, total)
    return paths


def split(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names in order, cut into runs of at most ``limit`` bytes; a larger tensor stands alone."""
    runs: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not runs or size > room:
            runs.append([])
            room = limit
        runs[-1].append(name)
        room -= size
    return runs


def _finish(folder: Path, paths: list[Path], weight_map: Mapping[str, str], total: int) -> None:
    index = folder / INDEX
    if len(paths) > 1:
        table = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        index.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    else:
        index.unlink(missing_ok=True)
    for old in folder.glob("model*.safetensors"):
        if old not in paths:
            old.unlink()
