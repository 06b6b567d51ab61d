"""Small LeRobot folders of others: pictures in columns or in films, one file an episode."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molmoact_ros.data.pictures import encode_jpeg

TICKS, FPS = 6, 15
FILM = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write_v2(folder: Path, keys: tuple[str, ...], dims: int = 7, kind: str = "image") -> None:
    """Two episodes of six ticks, columns named as MolmoAct-Dataset has them."""
    (folder / "meta").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    features = {key: {"dtype": kind, "shape": [48, 64, 3]} for key in keys}
    features |= {"state": {"dtype": "float32"}, "actions": {"dtype": "float32"}}
    info = {
        "codebase_version": "v2.1", "fps": FPS, "total_episodes": 2, "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": FILM if kind == "video" else None, "features": features,
    }  # fmt: skip
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "close the box"}\n')
    jpeg = encode_jpeg(np.full((48, 64, 3), 77, np.uint8), 90)
    rng = np.random.default_rng(0)
    for episode in range(2):
        actions = rng.uniform(-0.02, 0.02, (TICKS, dims))
        actions[:, -1] = np.arange(TICKS) > 2
        columns = {"state": np.ones((TICKS, 7)).tolist(), "actions": actions.tolist()}
        columns |= {"task_index": [0] * TICKS, "episode_index": [episode] * TICKS}
        if kind == "image":
            columns |= {key: [{"bytes": jpeg, "path": None}] * TICKS for key in keys}
        for key in keys if kind == "video" else ():
            write_film(folder / FILM.format(episode_chunk=0, video_key=key, episode_index=episode))
        pq.write_table(pa.table(columns), folder / f"data/chunk-000/episode_{episode:06d}.parquet")


def write_film(path: Path, frames: int = TICKS) -> None:
    """Frame n has grey value 40 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(frames):
            grey = np.full((48, 64, 3), 40 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
