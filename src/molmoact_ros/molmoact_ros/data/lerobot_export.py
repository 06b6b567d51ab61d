"""A labelled data set as LeRobot v3.0: to share, to look at, or to train other policies.

One MP4 a camera (H.264, a key frame every second frame, so that random access is cheap), one data
file, episodes with statistics. Labels come along as columns ``molmo.*``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.rows import BadData

_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def export_lerobot(data: DataSet, out: Path, robot: str = "franka_fr3") -> None:
    """Write ``out`` (must not exist). Open ``data`` with split "". Raises BadData."""
    if out.exists():
        raise BadData(f"{out} exists already; choose another folder")
    fps, total = data.card.fps, sum(len(rows) for rows in data.episodes)
    for camera in data.card.cameras:
        _video(data, camera, out / _VIDEO.format(
            video_key=f"observation.images.{camera}", chunk_index=0, file_index=0
        ))  # fmt: skip
    _write(out / _DATA.format(chunk_index=0, file_index=0), _rows(data))
    tasks = _tasks(data)
    table = pa.table({"task_index": list(tasks.values()), "task": list(tasks)})
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": []}
    _write(
        out / "meta/tasks.parquet",
        table.replace_schema_metadata({"pandas": json.dumps(pandas)}),
    )
    _write(out / "meta/episodes/chunk-000/file-000.parquet", _episodes(data, fps))
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
        "features": _features(data),
    }
    (out / "meta/info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    columns = {
        "action": np.concatenate([rows.actions for rows in data.episodes]),
        "observation.state": np.concatenate([rows.states for rows in data.episodes]),
    }
    stats = {name: _statistics(values) for name, values in columns.items()}
    (out / "meta/stats.json").write_text(json.dumps(stats, indent=1) + "\n", encoding="utf-8")


def _tasks(data: DataSet) -> dict[str, int]:
    tasks: dict[str, int] = {}
    for rows in data.episodes:
        tasks.setdefault(rows.info["instruction"], len(tasks))
    return tasks


def _rows(data: DataSet) -> pa.Table:
    tasks, first, tables = _tasks(data), 0, []
    for index, rows in enumerate(data.episodes):
        count = len(rows)
        tables.append(
            pa.table(
                {
                    "observation.state": _fixed(rows.states),
                    "action": _fixed(rows.actions),
                    "timestamp": pa.array(np.arange(count) / data.card.fps, pa.float32()),
                    "frame_index": np.arange(count, dtype=np.int64),
                    "episode_index": np.full(count, index, np.int64),
                    "index": np.arange(first, first + count, dtype=np.int64),
                    "task_index": np.full(count, tasks[rows.info["instruction"]], np.int64),
                    "molmo.depth": pa.array(rows.depth.tolist(), pa.list_(pa.uint8())),
                    "molmo.trace": pa.array(
                        [[] if t is None else t.reshape(-1).tolist() for t in rows.traces],
                        pa.list_(pa.uint8()),
                    ),
                }
            )
        )
        first += count
    return pa.concat_tables(tables)


def _episodes(data: DataSet, fps: float) -> pa.Table:
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
        }
        for camera in data.card.cameras:
            key = f"videos/observation.images.{camera}"
            row |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0}
            row |= {f"{key}/from_timestamp": first / fps, f"{key}/to_timestamp": end / fps}
        for name, values in (("action", rows.actions), ("observation.state", rows.states)):
            for key, value in _statistics(values).items():
                row[f"stats/{name}/{key}"] = value
        listed.append(row)
        first = end
    return pa.Table.from_pylist(listed)


def _features(data: DataSet) -> dict[str, Any]:
    width, height = data.card.image_size
    rows = data.episodes[0]
    axes = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    found: dict[str, Any] = {
        "observation.state": _feature("float32", rows.states.shape[1], axes),
        "action": _feature("float32", rows.actions.shape[1], axes),
        "timestamp": _feature("float32", 1),
        "molmo.depth": _feature("uint8", rows.depth.shape[1]),
        "molmo.trace": _feature("uint8", 10),
    }
    for name in ("frame_index", "episode_index", "index", "task_index"):
        found[name] = _feature("int64", 1)
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


def _feature(kind: str, size: int, names: list[str] | None = None) -> dict[str, Any]:
    fits = names is not None and len(names) == size
    return {"dtype": kind, "shape": [size], "names": names if fits else None}


def _video(data: DataSet, camera: str, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(data.card.fps))
        stream.width, stream.height = data.card.image_size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast", "g": "2", "threads": "1"}
        for index, rows in enumerate(data.episodes):
            for frame in range(len(rows)):
                rgb = data.picture(index, frame, camera)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


def _statistics(values: NDArray[np.float32]) -> dict[str, list[float]]:
    wide = values.astype(np.float64)
    table = {
        "min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0),
        "q01": np.quantile(wide, 0.01, axis=0), "q99": np.quantile(wide, 0.99, axis=0),
    }  # fmt: skip
    found: dict[str, list[float]] = {k: [float(x) for x in v] for k, v in table.items()}
    return {**found, "count": [len(values)]}


def _fixed(values: NDArray[np.float32]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
