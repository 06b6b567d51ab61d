"""Weights as released checkpoints store them: safetensors, one file or numbered shards.

Reading is lazy. ``read_table`` looks at headers only and finds every damage that can be found
without reading gigabytes; ``read_tensors`` then maps or converts one tensor at a time, so that a
model never lies in memory twice, whatever the precision of its file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from molmoact_ros.model.config import CheckpointError, read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""Precisions in which weights may be stored; anything else is another kind of file."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies and what it is, from the header of its file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, by its index where it has one. Raises CheckpointError."""
    index = folder / INDEX
    if not index.is_file():
        if (folder / WEIGHTS).is_file():
            return [folder / WEIGHTS]
        raise CheckpointError(f"{folder}: neither {WEIGHTS} nor {INDEX}; download the weights")
    names = sorted(set(_weight_map(index).values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index}: {name!r} is not a safetensors file of this folder")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: shard is missing; download it")
    return [folder / name for name in names]


def read_table(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a checkpoint folder, by name. Reads headers only.

    Raises CheckpointError naming file and tensor: a truncated or damaged file, a tensor in two
    files, one that the index places in another file, a precision that is not floating point.
    """
    table: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        for stored in _header(path):
            if stored.name in table:
                raise CheckpointError(
                    f"{path}: {stored.name} is in {table[stored.name].path.name} as well; "
                    "remove the file that does not belong to this checkpoint"
                )
            table[stored.name] = stored
    index = folder / INDEX
    if index.is_file():
        for name, file in _weight_map(index).items():
            if name not in table or table[name].path.name != file:
                raise CheckpointError(
                    f"{folder / file}: {name} is missing, though {INDEX} places it there; "
                    "download the shard again"
                )
    return table


def read_tensors(
    table: Mapping[str, StoredTensor],
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of ``table`` on ``device`` in ``dtype`` (None: as stored).

    On the CPU in the stored precision nothing is copied: the tensors are views of the mapped
    file. Otherwise the largest come first and each file is opened anew for every tensor, since
    its pages count as this process's memory while it is open: the peak is the finished model, or
    less than that plus its largest tensor. Raises CheckpointError for a file damaged meanwhile.
    """
    total, done = sum(stored.bytes for stored in table.values()), 0
    for stored in sorted(table.values(), key=lambda each: -each.bytes):
        try:
            with safe_open(str(stored.path), framework="pt", device=device) as file:
                tensor = file.get_tensor(stored.name)
                if dtype is not None:
                    tensor = tensor.to(dtype)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{stored.path}: damaged at {stored.name} ({error}); download it again"
            ) from None
        done += stored.bytes
        if progress is not None:
            progress(done, total)
        yield stored.name, tensor


def _weight_map(index: Path) -> dict[str, str]:
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise CheckpointError(f"{index}: weight_map is missing; download it again")
    return {str(name): str(file) for name, file in table.items()}


def _header(path: Path) -> Iterator[StoredTensor]:
    """Tensors of one file in the order of its header."""
    entries = _checked_header(path)
    for name, entry in entries.items():
        if entry["dtype"] not in DTYPES:
            raise CheckpointError(
                f"{path}: {name} is stored as {entry['dtype']}, expected one of "
                f"{', '.join(DTYPES)}; use the released weights, not a quantised copy"
            )
        begin, end = entry["data_offsets"]
        shape = tuple(int(side) for side in entry["shape"])
        yield StoredTensor(path, name, shape, DTYPES[entry["dtype"]], end - begin)


def _checked_header(path: Path) -> dict[str, dict[str, Any]]:
    """The header, after the library has verified that offsets and shapes fit its file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            text = file.read(length) if 0 < length <= size - 8 else b""
        header = json.loads(text)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        # A download that broke off is the usual damage; it deserves better than the next line.
        cut = [n for n, e in entries.items() if e["data_offsets"][1] > size - 8 - length]
        if cut:
            raise CheckpointError(
                f"{path}: cut off after {size} bytes, {cut[0]} and {len(cut) - 1} more tensors "
                "are incomplete; download it again"
            )
        with safe_open(str(path), framework="pt", device="cpu"):
            return entries
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: damaged, no readable safetensors header ({error}); download it again"
        ) from None
