"""Where a LeRobot data set keeps its episodes: one a file (v2.0, v2.1), or many (v3.0)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molmoact_ros.data.recording import Picture
from molmoact_ros.data.rows import BadData
from molmoact_ros.data.video import decode_video

INFO = "meta/info.json"
_AGAIN = "download the data set again"


@dataclass(frozen=True, eq=False)
class Part:
    """One episode. table: its rows; name: what its exporter called it, empty when nobody did."""

    number: int
    table: pa.Table
    task: str
    name: str = ""


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


def open_files(folder: Path, info: Mapping[str, Any]) -> V2 | V3:
    """The reader for this version. Raises BadData naming the file that is missing or damaged."""
    try:
        return V3(folder, info) if info["codebase_version"] == "v3.0" else V2(folder, info)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise BadData(f"{folder}: {error}; {_AGAIN}, meta/ included") from error


class V2:
    """One parquet and one film an episode; tasks as JSON lines."""

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self._folder, self._info = folder, info
        lines = (folder / "meta/tasks.jsonl").read_text(encoding="utf-8").splitlines()
        self._tasks = {r["task_index"]: r["task"] for r in map(json.loads, lines)}

    def parts(self) -> Iterator[Part]:
        for episode in range(int(self._info["total_episodes"])):
            path = self._folder / self._path("data_path", episode)
            table = _read(path)
            if not table.num_rows:
                raise BadData(f"{path}: no rows; {_AGAIN}")
            yield Part(episode, table, str(self._tasks[table["task_index"][0].as_py()]))

    def film(self, episode: int, key: str, length: int) -> tuple[Picture, ...]:
        path = self._folder / self._path("video_path", episode, key)
        return decode_video(path, 0.0, length, float(self._info["fps"]))

    def _path(self, which: str, episode: int, key: str = "") -> str:
        chunk = episode // int(self._info.get("chunks_size", 1000))
        pattern = _pattern(self._folder, self._info, which)
        return pattern.format(episode_chunk=chunk, episode_index=episode, video_key=key)


class V3:
    """Several episodes a file; where each one lies is in meta/episodes."""

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self._folder, self._info = folder, info
        paths = sorted((folder / "meta/episodes").rglob("*.parquet"))
        rows = [row for path in paths for row in _read(path).to_pylist()]
        self._episodes = {int(row["episode_index"]): row for row in rows}
        tasks = _read(folder / "meta/tasks.parquet").to_pylist()
        # pandas writes the task as index: its column is called task or __index_level_0__.
        self._tasks = {
            int(r["task_index"]): str(r.get("task", r.get("__index_level_0__"))) for r in tasks
        }
        self._open: tuple[Path, pa.Table] | None = None

    def parts(self) -> Iterator[Part]:
        for episode, row in sorted(self._episodes.items()):
            path = self._folder / _pattern(self._folder, self._info, "data_path").format(
                chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
            )
            if self._open is None or self._open[0] != path:
                self._open = path, _read(path)
            table = self._open[1]
            chosen = np.flatnonzero(table["episode_index"].to_numpy() == episode)
            if not chosen.size:
                raise BadData(f"{path}: no rows of episode {episode}; {_AGAIN}")
            part = table.slice(int(chosen[0]), len(chosen))
            task = self._tasks[int(part["task_index"][0].as_py())]
            yield Part(episode, part, task, str(row.get("molmo.episode_id") or ""))

    def film(self, episode: int, key: str, length: int) -> tuple[Picture, ...]:
        row = self._episodes[episode]
        path = self._folder / _pattern(self._folder, self._info, "video_path").format(
            video_key=key,
            chunk_index=row[f"videos/{key}/chunk_index"],
            file_index=row[f"videos/{key}/file_index"],
        )
        first = float(row[f"videos/{key}/from_timestamp"])
        return decode_video(path, first, length, float(self._info["fps"]))


def _pattern(folder: Path, info: Mapping[str, Any], which: str) -> str:
    found = info.get(which)
    if not isinstance(found, str):
        raise BadData(f"{folder / INFO}: {which} is {found!r}; {_AGAIN}")
    return found


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BadData(f"{path}: {error}; {_AGAIN}") from error
