"""LeRobot data sets (v2.0, v2.1 and v3.0) in: episodes as ticks, pictures from columns or films.

Written against the format, not the library, whose pins exclude this project's torch. Every
camera the card names must be there: a key that is not found is an error, never skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from molmoact_ros.data.card import CARD_FILE, DataCard, load_card
from molmoact_ros.data.label import Known
from molmoact_ros.data.lerobot_files import INFO, open_files, read_info
from molmoact_ros.data.recording import Picture
from molmoact_ros.data.rows import BadData
from molmoact_ros.data.ticks import Ticks


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


def own_card(folder: Path) -> DataCard | None:
    """The card of a set that we exported, None for others. Raises BadCard."""
    return load_card(folder / "meta") if (folder / "meta" / CARD_FILE).exists() else None


def read_lerobot(
    folder: Path, card: DataCard, keys: Keys = Keys()
) -> Iterator[tuple[Ticks, Known]]:
    """Episode after episode; labels and names come along from sets that we exported.

    Raises BadData naming the file and column.
    """
    info = read_info(folder)
    features = info.get("features", {})
    wanted = [keys.image(camera) for camera in card.cameras]
    for name in (*wanted, keys.action):
        if name not in features:
            raise BadData(
                f"{folder / INFO}: no feature {name!r}; it has {', '.join(sorted(features))}. "
                "Map the cameras with --image CAMERA=COLUMN"
            )
    files = open_files(folder, info)
    fps, own = float(info["fps"]), own_card(folder)
    for part in files.parts():
        table, length = part.table, part.table.num_rows
        pictures = tuple(
            _pictures(table, name, folder)
            if features[name]["dtype"] == "image"
            else files.film(part.number, name, length)
            for name in wanted
        )
        told = own is not None and "molmo.use" in table.column_names
        use = table["molmo.use"].to_numpy() if told else np.ones(length, dtype=bool)
        yield (
            Ticks(
                episode_id=part.name or f"{folder.name}/{part.number:06d}",
                instruction=part.task,
                stamps=np.rint(np.arange(length) * 1e9 / fps).astype(np.int64),
                pictures=pictures,
                depth=(None,) * length,
                actions=_matrix(table, keys.action),
                states=_matrix(table, keys.state),
                uv=np.full((length, 2), np.nan),
                clean=clean_of(use, card.chunk),
            ),
            _known(table) if own else Known(),
        )


def clean_of(use: NDArray[np.bool_], chunk: int) -> NDArray[np.bool_]:
    """Ticks [T] of which ``label.startable`` makes ``use`` [T]: it counts chunk - 1 ticks before
    every disturbance too.
    """
    clean = np.ones(len(use), dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], use, [True]])))
    for start, end in edges.reshape(-1, 2):
        clean[(start + chunk - 1 if start else 0) : end] = False
    return clean


def _matrix(table: pa.Table, name: str) -> NDArray[np.float32]:
    """float32 [T, W]; W is 0 where the set has no such column."""
    if name not in table.column_names:
        return np.zeros((table.num_rows, 0), dtype=np.float32)
    rows: Sequence[Any] = table[name].to_pylist()
    try:
        return np.array(rows, dtype=np.float32).reshape(len(rows), -1)
    except (TypeError, ValueError) as error:
        raise BadData(
            f"column {name!r}: {error}; its rows must be numbers, equally many"
        ) from error


def _pictures(table: pa.Table, name: str, folder: Path) -> tuple[Picture, ...]:
    rows = table[name].to_pylist()
    found = [row.get("bytes") if isinstance(row, Mapping) else row for row in rows]
    if not all(found):
        raise BadData(
            f"{folder}: column {name!r} holds no picture bytes; export the set with pictures"
        )
    return tuple(Picture("jpeg", bytes(data or b"")) for data in found)


def _known(table: pa.Table) -> Known:
    """Labels of a set that we exported ourselves."""
    codes: NDArray[np.uint8] | None = None
    traces: list[NDArray[np.uint8] | None] = []
    if "molmo.depth" in table.column_names:
        codes = np.array(table["molmo.depth"].to_pylist(), dtype=np.uint8)
    if "molmo.trace" in table.column_names:
        counts = table["molmo.trace_points"].to_pylist()
        traces = [
            np.array(points, dtype=np.uint8).reshape(-1, 2)[:count] if count else None
            for points, count in zip(table["molmo.trace"].to_pylist(), counts, strict=True)
        ]
    return Known(codes, traces)
