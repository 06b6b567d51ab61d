"""LeRobot data sets (v2.1 and v3) in: episodes as ticks, pictures from image columns or videos.

Written against the format, not the library, whose pins exclude this project's torch. Every
camera the card names must be there: a key that is not found is an error, never skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.label import Known
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.recording import Picture
from molmoact_ros.data.rows import BadData
from molmoact_ros.data.ticks import Ticks

INFO = "meta/info.json"


@dataclass(frozen=True)
class Keys:
    """Column names. images: card camera to column; () takes ``observation.images.<camera>``."""

    images: tuple[tuple[str, str], ...] = ()
    state: str = "observation.state"
    action: str = "action"

    def image(self, camera: str) -> str:
        return dict(self.images).get(camera, f"observation.images.{camera}")


MOLMOACT_HOUSEHOLD = Keys(
    (("external", "first_view"), ("external2", "second_view"), ("wrist", "wrist_image")),
    "state",
    "actions",
)
"""Columns of allenai/MolmoAct-Dataset."""


def read_info(folder: Path) -> dict[str, Any]:
    """meta/info.json of versions 2.0, 2.1 or 3.0. Raises BadData."""
    path = folder / INFO
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadData(f"{path}: {error}; give the folder of a LeRobot data set") from error
    version = str(info.get("codebase_version", ""))
    if version not in ("v2.0", "v2.1", "v3.0"):
        raise BadData(f"{path}: version {version!r}; v2.0, v2.1 and v3.0 are understood")
    return dict(info)


def read_lerobot(
    folder: Path, card: DataCard, keys: Keys = Keys()
) -> Iterator[tuple[Ticks, Known]]:
    """Episode after episode. Raises BadData naming the file and column."""
    info = read_info(folder)
    features = info.get("features", {})
    wanted = [keys.image(camera) for camera in card.cameras]
    for name in (*wanted, keys.action):
        if name not in features:
            raise BadData(
                f"{folder / INFO}: no feature {name!r}; it has {', '.join(sorted(features))}. "
                "Map the cameras with --image CAMERA=COLUMN"
            )
    reader = _V3(folder, info) if info["codebase_version"] == "v3.0" else _V2(folder, info)
    fps = float(info["fps"])
    for episode, (table, task) in enumerate(reader.tables()):
        length = table.num_rows
        pictures = tuple(
            _pictures(table, name, length)
            if features[name]["dtype"] == "image"
            else reader.video(episode, name, length)
            for name in wanted
        )
        actions = _matrix(table, keys.action)
        has_state = keys.state in table.column_names
        state = _matrix(table, keys.state) if has_state else np.zeros((length, 7))
        yield (
            Ticks(
                episode_id=f"{folder.name}/{episode:06d}",
                instruction=task,
                stamps=np.rint(np.arange(length) * 1e9 / fps).astype(np.int64),
                pictures=pictures,
                depth=(None,) * length,
                actions=actions.astype(np.float32),
                states=state.astype(np.float32),
                uv=np.full((length, 2), np.nan),
                clean=np.ones(length, dtype=bool),
            ),
            _known(table),
        )


def decode_video(
    path: Path, first: float, count: int, fps: float, quality: int = 95
) -> tuple[Picture, ...]:
    """``count`` frames from ``first`` seconds on, as JPEGs. Raises BadData when it is too short."""
    found: list[Picture] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if first > 0.0:
                container.seek(int(first / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time < first - 0.5 / fps:
                    continue
                rgb = frame.to_ndarray(format="rgb24")
                found.append(Picture("jpeg", encode_jpeg(rgb, quality)))
                if len(found) == count:
                    break
    except (OSError, av.FFmpegError) as error:
        raise BadData(f"{path}: {error}; download it again") from error
    if len(found) < count:
        raise BadData(f"{path}: {len(found)} of {count} frames from {first:.2f} s on; truncated")
    return tuple(found)


class _V2:
    """One parquet and one video an episode; tasks and episodes as JSON lines."""

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self._folder, self._info = folder, info
        lines = (folder / "meta/tasks.jsonl").read_text(encoding="utf-8").splitlines()
        self._tasks = {r["task_index"]: r["task"] for r in map(json.loads, lines)}

    def tables(self) -> Iterator[tuple[pa.Table, str]]:
        for episode in range(int(self._info["total_episodes"])):
            table = _read(self._folder / self._path(self._info["data_path"], episode))
            yield table, str(self._tasks[table["task_index"][0].as_py()])

    def video(self, episode: int, key: str, length: int) -> tuple[Picture, ...]:
        path = self._path(self._info["video_path"], episode, key)
        return decode_video(self._folder / path, 0.0, length, float(self._info["fps"]))

    def _path(self, pattern: str, episode: int, key: str = "") -> str:
        chunk = episode // int(self._info.get("chunks_size", 1000))
        return pattern.format(episode_chunk=chunk, episode_index=episode, video_key=key)


class _V3:
    """Several episodes a file; where each one lies is in meta/episodes."""

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self._folder, self._info = folder, info
        paths = sorted((folder / "meta/episodes").rglob("*.parquet"))
        rows = [row for path in paths for row in _read(path).to_pylist()]
        self._episodes = sorted(rows, key=lambda row: int(row["episode_index"]))
        tasks = _read(folder / "meta/tasks.parquet").to_pylist()
        # pandas writes the task as index: its column is called task or __index_level_0__.
        self._tasks = {
            int(r["task_index"]): str(r.get("task", r.get("__index_level_0__"))) for r in tasks
        }
        self._open: tuple[Path, pa.Table] | None = None

    def tables(self) -> Iterator[tuple[pa.Table, str]]:
        for row in self._episodes:
            path = self._folder / self._info["data_path"].format(
                chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
            )
            if self._open is None or self._open[0] != path:
                self._open = path, _read(path)
            table = self._open[1]
            chosen = np.flatnonzero(table["episode_index"].to_numpy() == row["episode_index"])
            part = table.slice(int(chosen[0]), len(chosen))
            yield part, self._tasks[int(part["task_index"][0].as_py())]

    def video(self, episode: int, key: str, length: int) -> tuple[Picture, ...]:
        row = self._episodes[episode]
        path = self._folder / self._info["video_path"].format(
            video_key=key,
            chunk_index=row[f"videos/{key}/chunk_index"],
            file_index=row[f"videos/{key}/file_index"],
        )
        first = float(row[f"videos/{key}/from_timestamp"])
        return decode_video(path, first, length, float(self._info["fps"]))


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BadData(f"{path}: {error}; download it again") from error


def _matrix(table: pa.Table, name: str) -> NDArray[np.float32]:
    rows: Sequence[Any] = table[name].to_pylist()
    return np.array(rows, dtype=np.float32).reshape(len(rows), -1)


def _pictures(table: pa.Table, name: str, length: int) -> tuple[Picture, ...]:
    rows = table[name].to_pylist()
    found = [row.get("bytes") if isinstance(row, Mapping) else row for row in rows]
    if len(found) != length or any(not data for data in found):
        raise BadData(f"column {name!r} holds no picture bytes; export the set with pictures")
    return tuple(Picture("jpeg", bytes(data or b"")) for data in found)


def _known(table: pa.Table) -> Known:
    """Labels of a set that we exported ourselves."""
    if "molmo.depth" not in table.column_names or "molmo.trace" not in table.column_names:
        return Known()
    codes = np.array(table["molmo.depth"].to_pylist(), dtype=np.uint8)
    traces = [
        np.array(points, dtype=np.uint8).reshape(-1, 2) if points else None
        for points in table["molmo.trace"].to_pylist()
    ]
    return Known(codes.reshape(table.num_rows, -1) if codes.size else None, traces)
