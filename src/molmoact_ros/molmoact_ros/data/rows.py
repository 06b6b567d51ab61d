"""The columns of a labelled data set: one row a tick, one parquet file an episode.

Pictures lie beside it as JPEGs in one ``.pack`` file an episode and camera; a row holds offset
and size, so that a loader reads one picture with one system call and a label can change without
touching pictures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

LABELS, PICTURES = "labels", "pictures"
NO_CODES = np.zeros(0, dtype=np.uint8)
SOURCES = {"none": 0, "tf": 1, "sensor": 1, "molmo": 2, "estimate": 2, "imported": 3, "fk": 4}


class BadData(ValueError):
    """A data set that cannot be used; says what was found and what to do."""


@dataclass(frozen=True, eq=False)
class EpisodeRows:
    """One labelled episode of T ticks.

    offsets: camera to int64 [T, 2], where its JPEGs lie in the pack (offset, bytes).
    actions float32 [T, D] and states float32 [T, S] are raw. depth uint8 [T, 100], or [T, 0]
    without. traces: uint8 [1..5, 2] a tick or None. use [T]: a chunk may start here.
    info: text about the episode (instruction, source, split, ...).

    Ticks that are no recording (``scatter``) bring more: instructions, one a tick instead of the
    episode's; chunks float32 [T, N, D], the actions that follow; landmarks float32 [T, K], where
    things are in the pictures (``data.landmarks``).
    """

    timestamps: NDArray[np.float64]
    offsets: Mapping[str, NDArray[np.int64]]
    actions: NDArray[np.float32]
    states: NDArray[np.float32]
    depth: NDArray[np.uint8]
    traces: Sequence[NDArray[np.uint8] | None]
    use: NDArray[np.bool_]
    info: Mapping[str, str]
    bins: NDArray[np.uint8] | None = None
    instructions: Sequence[str] = ()
    chunks: NDArray[np.float32] | None = None
    landmarks: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.actions)


def write_rows(
    path: Path, rows: EpisodeRows, index: int = 0, first: int = 0, task: int = 0
) -> None:
    """Replace ``path`` in one step. index, first, task: episode number, row number, task number."""
    count = len(rows)
    src = SOURCES[rows.info.get("trace_source", "none")] * 16
    src += SOURCES[rows.info.get("depth_source", "none")]
    columns: dict[str, Any] = {
        "episode_index": np.full(count, index, np.int64),
        "frame_index": np.arange(count, dtype=np.int64),
        "index": np.arange(first, first + count, dtype=np.int64),
        "task_index": np.full(count, task, np.int64),
        "timestamp": rows.timestamps.astype(np.float64),
        "language_instruction": list(rows.instructions) or [rows.info["instruction"]] * count,
        "observation.state": _lists(rows.states, pa.float32()),
        "action": _lists(rows.actions, pa.float32()),
        "molmo.depth": _lists(rows.depth, pa.uint8()),
        "molmo.trace": pa.array(
            [[] if t is None else t.reshape(-1).tolist() for t in rows.traces], pa.list_(pa.uint8())
        ),
        "molmo.trace_valid": [t is not None for t in rows.traces],
        "molmo.use": rows.use,
        "molmo.src": np.full(count, src, np.uint8),
    }
    for camera, table in rows.offsets.items():
        columns[f"observation.images.{camera}"] = pa.StructArray.from_arrays(
            [pa.array(table[:, 0]), pa.array(table[:, 1])], ["offset", "bytes"]
        )
    if rows.bins is not None:
        columns["molmo.bins"] = _lists(rows.bins, pa.uint8())
    if rows.chunks is not None:
        columns["molmo.chunk"] = _lists(rows.chunks.reshape(count, -1), pa.float32())
    if rows.landmarks is not None:
        columns["molmo.landmarks"] = _lists(rows.landmarks, pa.float32())
    table_ = pa.table(columns)
    info = {f"molmo.{key}": str(value) for key, value in rows.info.items()}
    scratch = path.with_suffix(".part")
    pq.write_table(table_.replace_schema_metadata(info), scratch, compression="zstd")
    scratch.replace(path)


def read_rows(path: Path) -> EpisodeRows:
    """Raises BadData for a file that is no episode of ours."""
    try:
        table = pq.read_table(path)
        info = read_info(path)
        lists = {name: table[name].combine_chunks() for name in table.column_names}
        bins = _matrix(lists["molmo.bins"], np.uint8) if "molmo.bins" in lists else None
        actions = _matrix(lists["action"], np.float32)
        chunks = _optional(lists, "molmo.chunk")
        prefix = "observation.images."
        return EpisodeRows(
            timestamps=table["timestamp"].to_numpy(),
            offsets={
                name.removeprefix(prefix): np.stack(
                    [lists[name].field("offset"), lists[name].field("bytes")], axis=1
                ).astype(np.int64)
                for name in table.column_names
                if name.startswith(prefix)
            },
            actions=actions,
            states=_matrix(lists["observation.state"], np.float32),
            depth=_matrix(lists["molmo.depth"], np.uint8),
            traces=_traces(lists["molmo.trace"], table["molmo.trace_valid"].to_numpy()),
            use=table["molmo.use"].to_numpy().astype(bool),
            info=info,
            bins=bins,
            instructions=() if chunks is None else table["language_instruction"].to_pylist(),
            chunks=None if chunks is None else chunks.reshape(len(chunks), -1, actions.shape[1]),
            landmarks=_optional(lists, "molmo.landmarks"),
        )
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise BadData(f"{path}: not a labelled episode ({error}); run molmoact label again") from (
            error
        )


def read_info(path: Path) -> dict[str, str]:
    """The text stored with an episode. Raises BadData."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise BadData(f"{path}: damaged ({error}); delete it and label again") from error
    prefix = b"molmo."
    return {
        key.removeprefix(prefix).decode(): value.decode()
        for key, value in metadata.items()
        if key.startswith(prefix)
    }


class PackWriter:
    """JPEGs of one camera, one after the other. The file appears when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._file = path.with_suffix(".part").open("wb")
        self._table: list[tuple[int, int]] = []

    def add(self, jpeg: bytes) -> None:
        self._file.write(jpeg)
        self._table.append((self._offset, len(jpeg)))
        self._offset += len(jpeg)

    def close(self) -> NDArray[np.int64]:
        """The offsets [T, 2] for ``EpisodeRows``."""
        self._file.close()
        self._path.with_suffix(".part").replace(self._path)
        return np.array(self._table, dtype=np.int64).reshape(-1, 2)


def read_packed(path: Path, offset: int, size: int) -> bytes:
    """One JPEG. Raises BadData when the pack is shorter than its table says."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise BadData(f"{path}: {error}; copy the whole data set, pictures included") from error
    try:
        data = os.pread(handle, size, offset)
    finally:
        os.close(handle)
    if len(data) != size:
        raise BadData(f"{path}: ends before byte {offset + size}; copy the data set again")
    return data


def _lists(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    count, width = values.shape
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind)
    return (
        pa.FixedSizeListArray.from_arrays(flat, width)
        if width
        else pa.array([[]] * count, pa.list_(kind))
    )


def _matrix(column: pa.Array, kind: type) -> NDArray[Any]:
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(kind)
    return (
        flat.reshape(len(column), -1)
        if len(column) and len(flat)
        else np.zeros((len(column), 0), kind)
    )


def _optional(lists: Mapping[str, pa.Array], name: str) -> NDArray[np.float32] | None:
    return _matrix(lists[name], np.float32) if name in lists else None


def _traces(column: pa.Array, valid: NDArray[Any]) -> list[NDArray[np.uint8] | None]:
    values = column.to_pylist()
    return [
        np.array(points, dtype=np.uint8).reshape(-1, 2) if good else None
        for points, good in zip(values, valid, strict=True)
    ]
