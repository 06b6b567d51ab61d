"""A labelled data set as the folder that the public MolmoAct fine-tuning code reads.

A Hugging Face ``save_to_disk`` folder with pictures under exactly ``image`` and ``wrist_image``
and the label columns as text, plus dataset_statistics.json. Two facts of that code are made up
for here: it reads two pictures only, and it inverts the gripper as 1 - raw, so raw is written as
0 open and 1 closed whatever the recording's convention was.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.rows import BadData
from molmoact_ros.reasoning.actions import chunk_text
from molmoact_ros.reasoning.depth_text import depth_to_text
from molmoact_ros.reasoning.statistics import compute_statistics, write_statistics
from molmoact_ros.reasoning.trace_text import trace_to_text

_COLUMNS = ("image", "wrist_image")
_TEXT = ("language_instruction", "depth", "trace", "processed_action")


def export_official(data: DataSet, out: Path) -> int:
    """Write ``out``; the number of rows (ticks with depth and trace). Raises BadData."""
    if len(data.card.cameras) > 2:
        raise BadData(f"{len(data.card.cameras)} cameras; the public loader reads two, choose them")
    if out.exists():
        raise BadData(f"{out} exists already; choose another folder")
    out.mkdir(parents=True)
    names = _COLUMNS[: len(data.card.cameras)]
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {**dict.fromkeys(names, picture), **dict.fromkeys(_TEXT, pa.string())}
    features: dict[str, Any] = {name: {"_type": "Image"} for name in names}
    features |= {name: {"dtype": "string", "_type": "Value"} for name in _TEXT}
    info = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(list(kinds.items()), metadata=info)
    file, count = "data-00000-of-00001.arrow", 0
    with pa.OSFile(str(out / file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for number in range(len(data)):
            tick = data.tick(number)
            if tick.trace is None or tick.depth is None:
                continue
            jpegs = [encode_jpeg(rgb, 95) for rgb in tick.pictures]
            action = {
                "normalized_action": data.statistics.normalise(tick.actions[0]).tolist(),
                "tokenized_action": chunk_text(tick.bins[0]),
                "chunked_action": chunk_text(tick.bins),
            }
            row: dict[str, Any] = {
                name: {"bytes": jpeg, "path": None} for name, jpeg in zip(names, jpegs, strict=True)
            }
            row |= {
                "language_instruction": tick.instruction,
                "depth": depth_to_text(tick.depth),
                "trace": trace_to_text(tick.trace),
                "processed_action": json.dumps(action, ensure_ascii=False),
            }
            writer.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))
            count += 1
    state: dict[str, Any] = {
        "_data_files": [{"filename": file}],
        "_fingerprint": data.card.digest,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    (out / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    described = {"features": features, "citation": "", "description": "", "license": ""}
    (out / "dataset_info.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    _statistics(data, out)
    return count


def _statistics(data: DataSet, out: Path) -> None:
    actions = np.concatenate([rows.actions for rows in data.episodes]).copy()
    grippers = np.flatnonzero(~data.statistics.scaled)
    actions[:, grippers] = 1.0 - data.statistics.normalise(actions)[:, grippers]
    names = np.concatenate([np.full(len(r), i) for i, r in enumerate(data.episodes)])
    card = replace(data.card, gripper_raw="0open_1closed")
    table = {data.card.name: compute_statistics(actions, names, card.travelling)}
    write_statistics(out / "dataset_statistics.json", table)
