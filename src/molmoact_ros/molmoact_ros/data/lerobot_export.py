"""A labelled data set as LeRobot v3.0: to share, to look at, or to train other policies.

One MP4 a camera (H.264, a key frame every second frame, so that random access is cheap), one data
file, episodes with statistics. LeRobot reads features of fixed length only, so that a trace is
five points, the last one repeated, beside their true number. Labels are the columns ``molmo.*``:

depth uint8 [100]; trace uint8 [10] (u, v of five points) and trace_points uint8 (0..5, 0: none);
use: a chunk may start here. meta/card.json is the data card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.lerobot_stats import (
    Described,
    described,
    described_pictures,
    plain,
    sampled,
    together,
)
from molmoact_ros.data.rows import BadData
from molmoact_ros.reasoning.trace_text import MAX_POINTS

_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_AXES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
Columns = dict[str, NDArray[Any]]


def export_lerobot(data: DataSet, out: Path, robot: str = "franka_fr3") -> None:
    """Write ``out`` (must not exist). Open ``data`` with split "". Raises BadData."""
    _check(data, out)
    fps, total = data.card.fps, sum(len(rows) for rows in data.episodes)
    columns = _columns(data)
    pictures = {
        f"observation.images.{camera}": _video(data, camera, out) for camera in data.card.cameras
    }
    _write(out / _DATA.format(chunk_index=0, file_index=0), _table(columns))
    tasks = _tasks(data)
    _write(out / "meta/tasks.parquet", _task_table(tasks))
    _write(out / "meta/episodes/chunk-000/file-000.parquet", _episodes(data, columns, pictures))
    info = {
        "codebase_version": "v3.0",
        "robot_type": robot,
        "total_episodes": len(data.episodes),
        "total_frames": total,
        "total_tasks": len(tasks),
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(fps) if fps == int(fps) else fps,
        "splits": {"train": f"0:{len(data.episodes)}"},
        "data_path": _DATA,
        "video_path": _VIDEO,
        "features": _features(data, columns[0]),
    }
    (out / "meta/info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    stats = {
        name: plain(described(np.concatenate([part[name] for part in columns])))
        for name in columns[0]
    }
    stats |= {name: plain(together(parts)) for name, parts in pictures.items()}
    (out / "meta/stats.json").write_text(json.dumps(stats, indent=1) + "\n", encoding="utf-8")
    data.card.save(out / "meta")


def _check(data: DataSet, out: Path) -> None:
    if out.exists():
        raise BadData(f"{out} exists already; choose another folder")
    if not data.episodes:
        raise BadData(f"{data.folder}: no episodes; label some bags")
    if any(rows.chunks is not None for rows in data.episodes):
        raise BadData(f"{data.folder}: scattered states are no episodes; export recordings")
    if any(side % 2 for side in data.card.image_size):
        raise BadData(f"pictures of {data.card.image_size}: H.264 needs even sides; label again")


def _tasks(data: DataSet) -> dict[str, int]:
    tasks: dict[str, int] = {}
    for rows in data.episodes:
        tasks.setdefault(rows.info["instruction"], len(tasks))
    return tasks


def _task_table(tasks: Mapping[str, int]) -> pa.Table:
    """LeRobot looks tasks up by a pandas index, which parquet keeps as a note about columns."""
    columns = [
        {"name": name, "field_name": name, "metadata": None, "pandas_type": kind, "numpy_type": of}
        for name, kind, of in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    note = {"index_columns": ["task"], "column_indexes": [], "columns": columns}
    table = pa.table({"task_index": list(tasks.values()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(note)})


def _columns(data: DataSet) -> list[Columns]:
    """Feature to [T, W], episode by episode. Raises BadData when episodes have other features."""
    tasks, first, found = _tasks(data), 0, []
    for index, rows in enumerate(data.episodes):
        frames = np.arange(len(rows), dtype=np.int64)[:, None]
        columns: Columns = {
            "action": rows.actions,
            "timestamp": (frames / data.card.fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full_like(frames, index),
            "index": first + frames,
            "task_index": np.full_like(frames, tasks[rows.info["instruction"]]),
            "molmo.use": rows.use[:, None],
        }
        if rows.states.shape[1]:
            columns["observation.state"] = rows.states
        if rows.depth.shape[1]:
            columns["molmo.depth"] = rows.depth
        if data.card.trace_source != "none":
            columns["molmo.trace"] = np.stack([_five(trace) for trace in rows.traces])
            counts = [0 if trace is None else len(trace) for trace in rows.traces]
            columns["molmo.trace_points"] = np.array(counts, dtype=np.uint8)[:, None]
        found.append(columns)
        first += len(rows)
    kinds = [{name: values.shape[1] for name, values in part.items()} for part in found]
    for rows, kind in zip(data.episodes, kinds, strict=True):
        if kind != kinds[0]:
            raise BadData(
                f"{rows.info['episode_id']} has features {kind}, the first episode {kinds[0]}; "
                "label all episodes with one card"
            )
    return found


def _five(trace: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    if trace is None:
        return np.zeros(2 * MAX_POINTS, dtype=np.uint8)
    return np.concatenate([trace, np.repeat(trace[-1:], MAX_POINTS - len(trace), 0)]).reshape(-1)


def _table(columns: list[Columns]) -> pa.Table:
    return pa.concat_tables(
        pa.table({name: _fixed(values) for name, values in part.items()}) for part in columns
    )


def _episodes(
    data: DataSet, columns: list[Columns], pictures: Mapping[str, list[Described]]
) -> pa.Table:
    listed, first = [], 0
    for index, rows in enumerate(data.episodes):
        end = first + len(rows)
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [rows.info["instruction"]],
            "length": len(rows),
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": first,
            "dataset_to_index": end,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            "molmo.episode_id": rows.info["episode_id"],
        }
        for name in pictures:
            key, fps = f"videos/{name}", data.card.fps
            row |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0}
            row |= {f"{key}/from_timestamp": first / fps, f"{key}/to_timestamp": end / fps}
        stats = {name: described(values) for name, values in columns[index].items()}
        for name, table in {**stats, **{k: v[index] for k, v in pictures.items()}}.items():
            row |= {f"stats/{name}/{key}": value for key, value in plain(table).items()}
        listed.append(row)
        first = end
    return pa.Table.from_pylist(listed)


def _features(data: DataSet, columns: Columns) -> dict[str, Any]:
    width, height = data.card.image_size
    found: dict[str, Any] = {}
    for name, values in columns.items():
        size = values.shape[1]
        named = name in ("action", "observation.state") and size == len(_AXES)
        found[name] = {
            "dtype": str(values.dtype), "shape": [size], "names": _AXES if named else None,
        }  # fmt: skip
    for camera in data.card.cameras:
        found[f"observation.images.{camera}"] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.fps": data.card.fps,
                "video.height": height,
                "video.width": width,
                "video.channels": 3,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "has_audio": False,
            },
        }
    return found


def _video(data: DataSet, camera: str, out: Path) -> list[Described]:
    """Write one camera's film; what its pictures look like, episode by episode."""
    key = f"observation.images.{camera}"
    path = out / _VIDEO.format(video_key=key, chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    found = []
    with av.open(str(path), "w") as container:
        # Rows are found by time: a rounded rate would shift late episodes by whole frames.
        rate = Fraction(data.card.fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = data.card.image_size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast", "g": "2", "threads": "1"}
        for index, rows in enumerate(data.episodes):
            chosen, kept = sampled(len(rows)), []
            for frame in range(len(rows)):
                rgb = data.picture(index, frame, camera)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
                if frame in chosen:
                    kept.append(rgb)
            found.append(described_pictures(kept))
        container.mux(stream.encode())
    return found


def _fixed(values: NDArray[Any]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    width = values.shape[1]
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
