"""A labelled data set as the folder that the public MolmoAct fine-tuning code reads.

A Hugging Face ``save_to_disk`` folder with pictures under exactly ``image`` and ``wrist_image``
and the label columns as text, plus dataset_statistics.json. Two facts of that code are made up
for here: it reads two pictures only, and it inverts the gripper as 1 - raw, so raw is written as
0 open and 1 closed whatever the recording's convention was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.pictures import encode_jpeg
from molmoact_ros.data.rows import BadData
from molmoact_ros.reasoning.actions import chunk_text
from molmoact_ros.reasoning.depth_text import depth_to_text
from molmoact_ros.reasoning.statistics import (
    NUMBERS,
    ActionStatistics,
    compute_statistics,
    write_statistics,
)
from molmoact_ros.reasoning.trace_text import trace_to_text

_COLUMNS = ("image", "wrist_image")
_TEXT = ("language_instruction", "depth", "trace", "processed_action")


@dataclass(frozen=True)
class Exported:
    """rows: ticks written. held_out: episodes that were left out because nobody trains on them."""

    rows: int
    held_out: int


def export_official(data: DataSet, out: Path, with_held_out: bool = False) -> Exported:
    """Write ticks with depth and trace to ``out``. Open ``data`` with split "". Raises BadData."""
    if len(data.card.cameras) > 2:
        raise BadData(f"{len(data.card.cameras)} cameras; the public loader reads two, choose them")
    if out.exists():
        raise BadData(f"{out} exists already; choose another folder")
    chosen = [with_held_out or entry["split"] == "train" for entry in data.listed]
    numbers = [n for n in range(len(data)) if chosen[data.place(n)[0]] and _thought(data, n)]
    if not numbers:
        raise BadData(f"{data.folder}: no tick to train on has depth and trace; label them first")
    out.mkdir(parents=True)
    names = _COLUMNS[: len(data.card.cameras)]
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {**dict.fromkeys(names, picture), **dict.fromkeys(_TEXT, pa.string())}
    features: dict[str, Any] = {name: {"_type": "Image"} for name in names}
    features |= {name: {"dtype": "string", "_type": "Value"} for name in _TEXT}
    info = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(list(kinds.items()), metadata=info)
    file = "data-00000-of-00001.arrow"
    with pa.OSFile(str(out / file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for number in numbers:
            tick = data.tick(number)
            assert tick.trace is not None and tick.depth is not None
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
    table = {data.card.name: _statistics(data)}
    write_statistics(out / "dataset_statistics.json", table)
    return Exported(len(numbers), chosen.count(False))


def _thought(data: DataSet, number: int) -> bool:
    episode, frame = data.place(number)
    rows = data.episodes[episode]
    return rows.depth.shape[1] > 0 and rows.traces[frame] is not None


def _statistics(data: DataSet) -> ActionStatistics:
    """Those that the text was scaled with, whatever rows they came from; the grippers, which are
    not scaled, as the text has them: of the train episodes, 0 open and 1 closed.
    """
    given = data.statistics
    train = [r for r, e in zip(data.episodes, data.listed, strict=True) if e["split"] == "train"]
    actions = np.concatenate([1.0 - given.normalise(rows.actions) for rows in train])
    names = np.concatenate([np.full(len(rows), i) for i, rows in enumerate(train)])
    told = compute_statistics(actions, names, {"gripper_dims": data.card.gripper_dims})
    mixed: dict[str, Any] = {
        name: np.where(given.scaled, values, getattr(told, name))
        for name in NUMBERS
        if (values := getattr(given, name)) is not None
    }
    card = replace(data.card, gripper_raw="0open_1closed")
    return replace(given, **mixed, card=card.travelling)
