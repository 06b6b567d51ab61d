"""A labelled data set: finishing it (statistics, bins, split, numbering) and opening it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard, load_card
from molmoact_ros.data.pictures import decode_jpeg
from molmoact_ros.data.row_card import unlike
from molmoact_ros.data.rows import (
    LABELS,
    PICTURES,
    BadData,
    EpisodeRows,
    read_packed,
    read_rows,
    write_rows,
)
from molmoact_ros.data.split import split_of
from molmoact_ros.reasoning.actions import encode
from molmoact_ros.reasoning.statistics import (
    ActionStatistics,
    compute_statistics,
    read_statistics,
    write_statistics,
)

STATISTICS, EPISODES, QUARANTINE = "dataset_statistics.json", "episodes.json", "quarantine.json"


def finish(
    folder: Path,
    card: DataCard,
    problems: Mapping[str, str] = {},
    statistics: ActionStatistics | None = None,
) -> ActionStatistics:
    """Statistics over the kept train ticks, bins, numbers and the list of episodes.

    Repeating it after more episodes were added is safe: the split so far stays. ``problems``:
    source to reason, for the quarantine list. ``statistics``: use these, so that data that still
    grows keeps its bins. Raises BadData when there is no episode, or one that says of itself that
    it follows another card.
    """
    paths = sorted((folder / LABELS).glob("*.parquet"))
    episodes = sorted(
        ((path, read_rows(path)) for path in paths),
        key=lambda pair: (int(pair[1].info.get("start_ns", 0)), pair[0].name),
    )
    if not episodes:
        why = "; ".join(f"{k}: {v}" for k, v in list(problems.items())[:3])
        raise BadData(f"{folder}: no episode could be labelled. {why or 'Give a folder of bags'}")
    for path, rows in episodes:
        if "row_card" in rows.info and (wrong := unlike(rows.info, card)):
            raise BadData(f"{path}: {'; '.join(wrong)}; one folder holds data of one card")
    split = split_of(
        {rows.info["episode_id"]: rows.info["instruction"] for _, rows in episodes},
        _recorded_split(folder),
    )
    train = [rows for _, rows in episodes if split[rows.info["episode_id"]] == "train"]
    if statistics is None:
        statistics = compute_statistics(
            np.concatenate([rows.actions for rows in train]),
            np.concatenate([np.full(len(rows), i) for i, rows in enumerate(train)]),
            card.travelling,
            [rows.states for rows in train],
        )
    tasks: dict[str, int] = {}
    listed: list[dict[str, Any]] = []
    first = 0
    for index, (path, rows) in enumerate(episodes):
        task = tasks.setdefault(rows.info["instruction"], len(tasks))
        bins = encode(statistics.normalise(rows.actions))
        info = {**rows.info, "split": split[rows.info["episode_id"]]}
        write_rows(path, replace(rows, bins=bins, info=info), index, first, task)
        listed.append(
            {
                "key": path.stem,
                "ticks": len(rows),
                "index": index,
                "first": first,
                "traced": int(sum(t is not None for t in rows.traces)),
                "usable": int(rows.use.sum()),
                **{k: info[k] for k in ("episode_id", "instruction", "split", "source")},
            }
        )
        first += len(rows)
    write_statistics(folder / STATISTICS, {card.name: statistics})
    card.save(folder)
    _write(folder / QUARANTINE, dict(problems))
    _write(folder / EPISODES, listed)
    return statistics


@dataclass(frozen=True, eq=False)
class Tick:
    """One row of the data set, pictures decoded: RGB uint8 [H, W, 3], one a camera."""

    pictures: tuple[NDArray[np.uint8], ...]
    instruction: str
    depth: NDArray[np.uint8] | None
    trace: NDArray[np.uint8] | None
    bins: NDArray[np.uint8]
    actions: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None


class DataSet:
    """An opened data set. Labels lie in memory (about 120 bytes a tick), pictures on disk.

    split: "train", "held_out" or "" for all. Raises BadData or BadCard.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        self.folder = folder
        self.card = load_card(folder)
        self.statistics = read_statistics(folder / STATISTICS, self.card.name)
        self.listed = [
            entry for entry in read_episodes(folder) if not split or entry["split"] == split
        ]
        self.episodes = [read_rows(folder / LABELS / f"{e['key']}.parquet") for e in self.listed]
        for rows in self.episodes:
            if rows.bins is None:
                raise BadData(f"{folder}: labelling was not finished; run molmoact label again")
        starts = [
            np.stack([np.full(int(rows.use.sum()), i), np.flatnonzero(rows.use)], axis=1)
            for i, rows in enumerate(self.episodes)
        ]
        self._index = np.concatenate(starts) if starts else np.zeros((0, 2), np.int64)

    def __len__(self) -> int:
        return len(self._index)

    def place(self, number: int) -> tuple[int, int]:
        """Episode and frame of usable tick ``number``."""
        episode, frame = self._index[number]
        return int(episode), int(frame)

    def tick(self, number: int) -> Tick:
        """Pictures, labels and the chunk that starts at usable tick ``number``."""
        episode, frame = self.place(number)
        return self.at(episode, frame)

    @cached_property
    def frames(self) -> list[NDArray[np.int64]]:
        """Numbers of usable ticks that show the same pictures: one each, or several of scattered
        states, where one frame is asked several goals.
        """
        if not len(self):
            return []
        offsets = [next(iter(rows.offsets.values()))[:, 0] for rows in self.episodes]
        shown = np.array([(e, offsets[e][f]) for e, f in self._index])
        ends = np.flatnonzero((shown[1:] != shown[:-1]).any(axis=1)) + 1
        return np.split(np.arange(len(self)), ends)

    def again(self, number: int, pictures: tuple[NDArray[np.uint8], ...]) -> Tick:
        """Usable tick ``number`` without opening its pictures, which are ``pictures``."""
        return self.at(*self.place(number), pictures)

    def at(
        self, episode: int, frame: int, pictures: tuple[NDArray[np.uint8], ...] | None = None
    ) -> Tick:
        """As ``tick``, by place."""
        rows = self.episodes[episode]
        chunk = self.chunk_actions(rows, frame)
        return Tick(
            pictures=pictures
            or tuple(self.picture(episode, frame, name) for name in self.card.cameras),
            instruction=rows.instructions[frame] if rows.instructions else rows.info["instruction"],
            depth=rows.depth[frame] if rows.depth.shape[1] else None,
            trace=rows.traces[frame],
            bins=self._chunk_bins(rows, frame),
            actions=chunk,
            landmarks=None if rows.landmarks is None else rows.landmarks[frame],
        )

    def picture(self, episode: int, frame: int, camera: str) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3]."""
        rows = self.episodes[episode]
        offset, size = rows.offsets[camera][frame]
        path = self.folder / PICTURES / f"{rows.info['key']}.{camera}.pack"
        return decode_jpeg(read_packed(path, int(offset), int(size)))

    def chunk_actions(self, rows: EpisodeRows, frame: int) -> NDArray[np.float32]:
        """Raw actions [chunk, D] from ``frame`` on, padded behind the end as the card says."""
        if rows.chunks is not None:
            return rows.chunks[frame]
        wanted = frame + np.arange(self.card.chunk)
        chunk = rows.actions[np.minimum(wanted, len(rows) - 1)].copy()
        if self.card.end_padding == "zero":
            chunk[np.ix_(wanted >= len(rows), np.flatnonzero(self.statistics.scaled))] = 0.0
        return chunk

    def _chunk_bins(self, rows: EpisodeRows, frame: int) -> NDArray[np.uint8]:
        if rows.chunks is not None:
            return encode(self.statistics.normalise(rows.chunks[frame]))
        assert rows.bins is not None
        wanted = frame + np.arange(self.card.chunk)
        chunk = rows.bins[np.minimum(wanted, len(rows) - 1)].copy()
        if self.card.end_padding == "zero":
            past, scaled = wanted >= len(rows), np.flatnonzero(self.statistics.scaled)
            chunk[np.ix_(past, scaled)] = self._rest_bins[scaled]
        return chunk

    @cached_property
    def _rest_bins(self) -> NDArray[np.uint8]:
        return encode(self.statistics.normalise(np.zeros(self.statistics.dims)))


def read_episodes(folder: Path) -> list[dict[str, Any]]:
    """The list of episodes. Raises BadData."""
    path = folder / EPISODES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadData(f"{path}: {error}; give the folder that molmoact label wrote") from error
    if not isinstance(found, list):
        raise BadData(f"{path}: no list of episodes; run molmoact label again")
    return found


def _recorded_split(folder: Path) -> dict[str, str]:
    """Of the last time; empty when this is the first or its list is damaged."""
    try:
        return {entry["episode_id"]: entry["split"] for entry in read_episodes(folder)}
    except (BadData, KeyError, TypeError):
        return {}


def read_quarantine(folder: Path) -> dict[str, str]:
    """Recordings that could not be used and why; empty when nobody wrote any."""
    try:
        found = json.loads((folder / QUARANTINE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _write(path: Path, value: Sequence[Any] | Mapping[str, Any]) -> None:
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)
