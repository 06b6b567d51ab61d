"""Depth maps on disk: packs of PNGs, one shard a recording, read one map at a time.

A folder holds ``maps.json`` (how they were made), ``shards/KEY.pack`` (uint8 [320, 320] PNGs one
after the other, ``data.rows.PackWriter``) and ``shards/KEY.npy`` (int64 [N, 2]: offset, bytes).
The table comes last, so a shard without one is not there yet. A simulated map takes 10 kB, one of
a sensor more (noise does not compress); memory holds one number a shard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.rows import BadData, PackWriter, read_packed
from molmoact_ros.reasoning.depth_image import VQVAE_SIZE, vqvae_input

SETTINGS, SHARDS = "maps.json", "shards"
HELD_OUT_SHARE = 0.05
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 3]
_TABLES_OPEN = 4096


def map_of(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the network will see of a relative depth picture uint8 [H, W]: uint8 [320, 320]."""
    return np.asarray(np.round(vqvae_input(picture)[0, 0] * 255.0), dtype=np.uint8)


def open_folder(folder: Path, settings: Mapping[str, object]) -> None:
    """Make ``folder`` ready for more shards. Raises BadData when it was made in another way."""
    path = folder / SETTINGS
    if path.is_file():
        before = read_settings(folder)
        other = [k for k in {**before, **settings} if before.get(k) != settings.get(k)]
        if other:
            told = "; ".join(f"{k} {before.get(k)!r}, now {settings.get(k)!r}" for k in other)
            raise BadData(f"{folder}: its maps were made with {told}; choose another --out")
        return
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(dict(settings), indent=1) + "\n", encoding="utf-8")
    scratch.replace(path)


def read_settings(folder: Path) -> dict[str, object]:
    """``maps.json``. Raises BadData."""
    try:
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadData(
            f"{folder}: no depth maps ({error}); make some with molmoact vqvae maps"
        ) from error
    if not isinstance(found, dict):
        raise BadData(f"{folder / SETTINGS}: expected settings by name; make the maps again")
    return found


def is_there(folder: Path, key: str) -> bool:
    """Whether shard ``key`` is complete."""
    return (folder / SHARDS / f"{key}.npy").is_file()


def write_shard(folder: Path, key: str, maps: Iterable[NDArray[np.uint8]]) -> int:
    """Write maps uint8 [320, 320] as one shard; how many (with none there is no shard)."""
    pack = PackWriter(folder / SHARDS / f"{key}.pack")
    for picture in maps:
        done, data = cv2.imencode(".png", picture, _PNG)
        if not done or picture.shape != (VQVAE_SIZE, VQVAE_SIZE):
            raise ValueError(f"a depth map has shape {picture.shape}, expected [320, 320]")
        pack.add(bytes(data.tobytes()))
    table = pack.close()
    if not len(table):
        (folder / SHARDS / f"{key}.pack").unlink()
        return 0
    scratch = folder / SHARDS / f"{key}.table"
    with scratch.open("wb") as file:
        np.save(file, table)
    scratch.replace(folder / SHARDS / f"{key}.npy")
    return len(table)


class DepthMaps:
    """Maps of several folders by number; safe to read from many threads.

    split: "train", "held_out" or "" for all. Whole shards are held out, by a hash of their names
    (5 %, at least one), because neighbouring frames of one recording look alike; of a single
    shard its last twentieth. Raises BadData when there is nothing.
    """

    def __init__(self, folders: Sequence[Path], split: str = "") -> None:
        parts: list[tuple[Path, int, int]] = []
        listed = [path for folder in folders for path in _tables(folder)]
        if split and len(listed) == 1:
            count = _length(listed[0])
            cut = count - max(1, round(HELD_OUT_SHARE * count))
            parts = [(listed[0], 0, cut) if split == "train" else (listed[0], cut, count)]
        else:
            away = _held_out([path.stem for path in listed]) if split else set()
            wanted = [p for p in listed if not split or (p.stem in away) == (split == "held_out")]
            parts = [(path, 0, _length(path)) for path in wanted]
        self._paths = [path for path, _, _ in parts]
        self._firsts = [first for _, first, _ in parts]
        self._ends = np.cumsum([end - first for _, first, end in parts], dtype=np.int64)
        if not len(self):
            raise BadData(
                f"{', '.join(map(str, folders))}: no depth map{f' is {split}' if split else ''}; "
                "make more with molmoact vqvae maps"
            )

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """Map uint8 [320, 320]. Raises BadData for a damaged pack."""
        shard = int(np.searchsorted(self._ends, number, side="right"))
        before = int(self._ends[shard - 1]) if shard else 0
        path = self._paths[shard]
        offset, size = _table(path)[self._firsts[shard] + number - before]
        data = read_packed(path.with_suffix(".pack"), int(offset), int(size))
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None or found.shape != (VQVAE_SIZE, VQVAE_SIZE):
            raise BadData(f"{path}: map {number - before} is damaged; delete the shard, make anew")
        return np.asarray(found, dtype=np.uint8)

    def spread(self, count: int) -> list[int]:
        """At most ``count`` numbers, evenly over everything."""
        wanted = np.linspace(0, len(self) - 1, min(count, len(self)))
        return [int(i) for i in np.unique(np.round(wanted).astype(np.int64))]

    @property
    def fingerprint(self) -> str:
        """Of the names and lengths of the shards: the same order of maps needs the same ones."""
        told = ",".join(f"{p.stem}:{e}" for p, e in zip(self._paths, self._ends, strict=True))
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def _tables(folder: Path) -> list[Path]:
    read_settings(folder)
    return sorted((folder / SHARDS).glob("*.npy"))


def _length(path: Path) -> int:
    return len(np.load(path, mmap_mode="r", allow_pickle=False))


@lru_cache(_TABLES_OPEN)
def _table(path: Path) -> NDArray[np.int64]:
    return np.asarray(np.load(path, allow_pickle=False), dtype=np.int64)


def _held_out(keys: Sequence[str]) -> set[str]:
    """By each name's own hash, so that a recording never changes sides while more are added
    (except the one that stands in while none has been drawn).
    """
    hashes = {key: int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32 for key in keys}
    drawn = {key for key, value in hashes.items() if value < HELD_OUT_SHARE}
    return drawn or ({min(hashes, key=hashes.__getitem__)} if hashes else set())
