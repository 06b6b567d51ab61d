"""Where depth maps come from: bags, labelled data sets, and the simulation.

Every map goes through the label pipeline (``reasoning.depth_image``), so the VQ-VAE learns the very
inputs it will get. One recording is one shard; a shard that is there is not made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.bags.episodes import read_episode
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.data.bag_source import BagTopics, bag_id, find_bags, read_bag
from molmoact_ros.data.card import DataCard, load_card
from molmoact_ros.data.dataset import EPISODES, read_episodes
from molmoact_ros.data.estimator import DepthAnything
from molmoact_ros.data.label import episode_key
from molmoact_ros.data.pictures import decode_jpeg, metres_of, rgb_of
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.rows import LABELS, PICTURES, BadData, read_packed, read_rows
from molmoact_ros.policy.view import resized
from molmoact_ros.reasoning.depth_image import relative_depth_u8
from molmoact_ros.train.depth_maps import simulated_maps
from molmoact_ros.train.depth_shards import is_there, map_of, write_shard
from molmoact_ros.train.estimated_maps import Estimator, estimated_maps

SIMULATED = 100
"""Maps of a simulated shard."""


@dataclass(frozen=True)
class Making:
    """How maps are made. every: take each n-th frame. estimator: folder of Depth Anything, None:
    the depth camera. batch: pictures it sees at once. size: width and height of its pictures.
    """

    out: Path
    every: int = 5
    topics: BagTopics = BagTopics()
    estimator: Path | None = None
    device: str = ""
    batch: int = 16
    size: tuple[int, int] = DataCard().image_size

    @property
    def settings(self) -> dict[str, object]:
        """What all shards of a folder must share."""
        name = f"estimate by {self.estimator.name}" if self.estimator else "sensor"
        size = list(self.size) if self.estimator else []
        return {"depth": name, "every": self.every, "pictures": size}


@dataclass(frozen=True)
class Shard:
    """One recording to read: a bag, an episode of a labelled data set (``path`` its table), or
    frames of the simulation (``path`` says "simulation", ``seed`` which).
    """

    key: str
    path: Path
    seed: int = -1
    frames: int = 0


@dataclass(frozen=True)
class Made:
    """maps: how many. problem: why there are none, else empty."""

    shard: Shard
    maps: int
    problem: str = ""


def shards_of(sources: Sequence[Path], colour: bool) -> tuple[list[Shard], dict[str, str]]:
    """Recordings at or below ``sources``, and what is wrong with others.

    A labelled data set stands for the bags it was made from, or for its own pictures where
    ``colour`` is what will be read.
    """
    shards: dict[str, Shard] = {}
    problems: dict[str, str] = {}
    for source in sources:
        labelled = (source / EPISODES).is_file()
        if labelled and colour:
            tables = [source / LABELS / f"{e['key']}.parquet" for e in read_episodes(source)]
            shards |= {path.stem: Shard(path.stem, path) for path in tables}
            continue
        bags = [Path(e["source"]) for e in read_episodes(source)] if labelled else find_bags(source)
        if not bags:
            problems[str(source)] = "holds neither bags nor a labelled data set"
        for bag in bags:
            try:
                key = episode_key(bag_id(bag, read_episode(bag).custom))
            except BadBag as error:
                problems[str(bag)] = f"{error}"
                continue
            shards.setdefault(key, Shard(key, bag))
    return list(shards.values()), problems


def simulated_shards(count: int, seed: int) -> list[Shard]:
    """``count`` maps of the simulation, in shards that repeat. ``seed`` from 1 on: 0 would meet
    the frames that reports are made on.
    """
    if seed < 1:
        raise BadData(f"--seed is {seed}; use 1 or more, reports are made on what lies below")
    return [
        Shard(
            f"sim_{seed}_{i:05d}_{min(SIMULATED, count - first)}",
            Path("simulation"),
            seed * 100_000 + i,
            min(SIMULATED, count - first),
        )
        for i, first in enumerate(range(0, count, SIMULATED))
    ]


def make_shard(shard: Shard, making: Making) -> Made:
    """Write one shard; never raises for a bad recording."""
    if is_there(making.out, shard.key):
        return Made(shard, 0)
    try:
        count = write_shard(making.out, shard.key, maps_of(shard, making))
    except OSError:
        raise  # a full disk is no fault of the recording
    except Exception as error:  # noqa: BLE001  whatever a damaged recording does to its reader
        known = isinstance(error, ValueError)
        return Made(shard, 0, str(error) if known else f"{type(error).__name__}: {error}")
    return Made(shard, count, "" if count else "holds no picture")


def maps_of(
    shard: Shard, making: Making, estimator: Estimator | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Its maps uint8 [320, 320]. Raises BadEpisode, BadData or ValueError."""
    if shard.seed >= 0:
        yield from simulated_maps(shard.frames, shard.seed)
    elif making.estimator:
        read = _packed if shard.path.suffix == ".parquet" else _seen
        network = estimator or _estimator(making.estimator, making.device)
        yield from estimated_maps(network, read(shard.path, making), making.batch)
    else:
        yield from _measured(shard.path, making)


def _measured(bag: Path, making: Making) -> Iterator[NDArray[np.uint8]]:
    stream = read_bag(bag, making.topics, instruction="depth").depth
    if stream is None:
        raise BadEpisode(
            f"no depth on {making.topics.depth}; record the aligned depth topic or give "
            "--depth-estimator"
        )
    for frame in stream.values[:: making.every]:
        yield map_of(relative_depth_u8(metres_of(frame), source="sensor"))


def _seen(bag: Path, making: Making) -> Iterator[NDArray[np.uint8]]:
    """Pictures of the first camera, RGB, as labelling gives them to its estimator."""
    stream = read_bag(bag, making.topics, instruction="depth").pictures[making.topics.images[0][0]]
    for picture in stream.values[:: making.every]:
        yield resized(rgb_of(picture), making.size)


def _packed(table: Path, making: Making) -> Iterator[NDArray[np.uint8]]:
    """The same of a labelled episode; a frame that was asked several goals comes once."""
    folder = table.parents[1]
    camera = load_card(folder).cameras[0]
    pack = folder / PICTURES / f"{table.stem}.{camera}.pack"
    places = np.unique(read_rows(table).offsets[camera], axis=0)
    for offset, size in places[:: making.every]:
        yield resized(decode_jpeg(read_packed(pack, int(offset), int(size))), making.size)


@lru_cache(1)
def _estimator(folder: Path, device: str) -> Estimator:
    return DepthAnything(folder, device)
