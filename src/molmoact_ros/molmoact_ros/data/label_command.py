"""``molmoact label BAGS --out DATA``: recorded episodes become training data.

Resumes: episodes already labelled with the same card are left alone. Every bag that cannot be
used is named in DATA/quarantine.json with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from molmoact_ros.bags.episodes import read_episode
from molmoact_ros.bags.metadata import BadBag
from molmoact_ros.bags.provenance import software_commit, software_version
from molmoact_ros.data.bag_source import BagTopics, bag_id, find_bags, read_bag
from molmoact_ros.data.card import BadCard, DataCard, card_from_dict
from molmoact_ros.data.dataset import finish
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.estimator import DepthAnything
from molmoact_ros.data.label import Pointer, episode_key, label_episode
from molmoact_ros.data.pointing import MolmoPointer
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.rows import LABELS, BadData, read_info
from molmoact_ros.reasoning.statistics import ActionStatistics, read_statistics

COMPAT = {
    "keep_after_grip": 0.0,
    "keep_at_end": 0.0,
    "end_padding": "repeat",
    "crop_moves_trace": False,
    "center_crop": 0.9,
}
"""Fields that reproduce the released weights' training data."""


@dataclass(frozen=True)
class Job:
    """One bag to label."""

    bag: Path
    out: Path
    card: DataCard
    topics: BagTopics
    instruction: str
    depth_weights: Path | None
    estimator: Path | None
    pointer: Path | None


@dataclass(frozen=True)
class Done:
    """seconds: of robot time that were labelled. problem: why there is nothing, else empty."""

    bag: Path
    ticks: int
    seconds: float
    problem: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact label``."""
    parser.add_argument("bags", type=Path, nargs="+", help="bags, or folders with bags below them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--card", type=Path, help="JSON file with card fields (docs/training.md)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", dest="fields")
    parser.add_argument("--compat", action="store_true", help="as the released weights were fed")
    parser.add_argument("--topics", type=Path, help="JSON file with topic names of this set-up")
    parser.add_argument("--instruction", default="", help="for bags that name no task")
    parser.add_argument("--depth-weights", type=Path, help="VQ-VAE (vae-final.pt or safetensors)")
    parser.add_argument("--depth-estimator", type=Path, help="folder of Depth-Anything-V2-Base-hf")
    parser.add_argument("--pointer", type=Path, help="folder of a Molmo pointing model")
    parser.add_argument(
        "--statistics", type=Path, help="keep this file's bins (a checkpoint's, another data set's)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")


def run(values: argparse.Namespace) -> int:
    """Label, finish, say what was done; the exit status."""
    try:
        card, topics = _card(values), _topics(values)
        return _label(values, card, topics)
    except (BadCard, BadData, OSError, json.JSONDecodeError) as error:
        sys.stderr.write(f"molmoact label: {error}\n")
        return 2


def _label(values: argparse.Namespace, card: DataCard, topics: BagTopics) -> int:
    given = given_statistics(values.statistics, card) if values.statistics else None
    bags = [bag for root in values.bags for bag in find_bags(root)]
    values.out.mkdir(parents=True, exist_ok=True)
    todo, problems = _todo(bags, values.out, card)
    jobs = [
        Job(
            bag, values.out, card, topics, values.instruction,
            values.depth_weights, values.depth_estimator, values.pointer,
        )
        for bag in todo
    ]  # fmt: skip
    started, ticks, seconds = time.monotonic(), 0, 0.0
    for number, done in enumerate(_worked(jobs, values.jobs), 1):
        if done.problem:
            problems[str(done.bag)] = done.problem
        ticks, seconds = ticks + done.ticks, seconds + done.seconds
        spent = time.monotonic() - started
        _progress(number, len(jobs), spent, seconds)
    statistics = finish(values.out, card, problems, given)
    counted = "bins as given"
    if given is None:
        counted = (
            f"{statistics.num_trajectories} episodes and {statistics.num_transitions} ticks to "
            "train on"
        )
    sys.stderr.write(
        f"\n{values.out}: {counted}; {len(problems)} bags could not be used"
        + (", see quarantine.json\n" if problems else "\n")
    )
    return 0


def given_statistics(path: Path, card: DataCard) -> ActionStatistics:
    """Another file's bins for this data; counts of zero say that these rows did not make them.

    Raises BadData where the file has none under the card's name.
    """
    try:
        found = read_statistics(path, card.name)
    except ValueError as error:
        raise BadData(str(error)) from error
    return replace(found, card=card.travelling, num_trajectories=0, num_transitions=0)


def label_bag(job: Job) -> Done:
    """Label one bag; never raises for a bad one."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        recording = read_bag(job.bag, job.topics, job.instruction)
        depth = _depth(job.depth_weights, job.estimator)
        pointer = _pointer(job.pointer)
        rows = label_episode(recording, job.out, job.card, depth, str(job.bag), pointer)
    except BadEpisode as error:
        return Done(job.bag, 0, 0.0, str(error))
    return Done(job.bag, len(rows), (len(rows) + int(rows.info["dropped"])) / job.card.fps)


def _todo(bags: Sequence[Path], out: Path, card: DataCard) -> tuple[list[Path], dict[str, str]]:
    """Bags not yet labelled with this card, and what is wrong with others."""
    todo: list[Path] = []
    problems: dict[str, str] = {}
    seen: dict[str, Path] = {}
    for bag in bags:
        try:
            known = read_episode(bag)
        except BadBag as error:
            problems[str(bag)] = str(error)
            continue
        name = bag_id(bag, known.custom)
        if name in seen and seen[name].resolve() != bag.resolve():
            problems[str(bag)] = f"is the same episode as {seen[name]}; keep one of them"
            continue
        seen[name] = bag
        path = out / LABELS / f"{episode_key(name)}.parquet"
        if path.is_file() and read_info(path).get("card") == card.digest:
            if known.outcome == "success" or not card.success_required:
                continue
            path.unlink()  # the operator changed his mind since
        todo.append(bag)
    return todo, problems


def _worked(jobs: Sequence[Job], processes: int) -> Iterator[Done]:
    if processes <= 1:
        yield from map(label_bag, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(label_bag, jobs)


def _progress(number: int, total: int, spent: float, seconds: float) -> None:
    left = spent / number * (total - number)
    speed = seconds / max(spent, 1e-9)
    sys.stderr.write(f"\r{number}/{total} bags, {speed:.1f} x real time, {left:.0f} s left      ")
    sys.stderr.flush()


@lru_cache(maxsize=1)
def _depth(weights: Path | None, estimator: Path | None) -> DepthLabeller:
    return DepthLabeller(weights, DepthAnything(estimator) if estimator else None)


@lru_cache(maxsize=1)
def _pointer(folder: Path | None) -> Pointer | None:
    return MolmoPointer(folder) if folder else None


def _card(values: argparse.Namespace) -> DataCard:
    card = DataCard(software=f"{software_version()} {software_commit()}".strip())
    if values.compat:
        card = card_from_dict(COMPAT, card)
    if values.card:
        card = card_from_dict(json.loads(values.card.read_text(encoding="utf-8")), card)
    for text in values.fields:
        name, _, value = text.partition("=")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        card = card_from_dict({name: parsed}, card)
    if values.depth_estimator and card.depth_source == "sensor" and not values.card:
        card = replace(card, depth_source="estimate")
    if card.depth_source != "none":
        card = replace(card, depth_codebook=DepthLabeller(values.depth_weights).codebook)
    return card


def _topics(values: argparse.Namespace) -> BagTopics:
    if not values.topics:
        return BagTopics()
    given = json.loads(values.topics.read_text(encoding="utf-8"))
    if not isinstance(given, dict):
        raise BadCard(f"{values.topics}: expected names with topics, found {type(given).__name__}")
    images = tuple(
        (str(k), str(v)) for k, v in given.pop("images", dict(BagTopics().images)).items()
    )
    try:
        return BagTopics(images=images, **given)
    except TypeError as error:
        raise BadCard(f"{values.topics}: {error}; see BagTopics in docs/training.md") from error
