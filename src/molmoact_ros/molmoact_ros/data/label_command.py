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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from molmoact_ros.data.bag_source import BagTopics, find_bags, read_bag
from molmoact_ros.data.card import BadCard, DataCard
from molmoact_ros.data.dataset import finish
from molmoact_ros.data.depth_agreement import FILE, compare, load_comparison
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.estimator import DepthAnything
from molmoact_ros.data.label import Pointer, label_episode
from molmoact_ros.data.label_options import add_arguments, card_of, topics_of
from molmoact_ros.data.label_plan import forget, make_plan
from molmoact_ros.data.pointing import MolmoPointer
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.rows import BadData
from molmoact_ros.data.workers import in_processes
from molmoact_ros.model.codebook import codebook_of
from molmoact_ros.reasoning.statistics import ActionStatistics, read_statistics

__all__ = ["add_arguments", "given_statistics", "label_bag", "run"]


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
    device: str


@dataclass(frozen=True)
class Done:
    """seconds: of robot time that were labelled. problem: why there is nothing, else empty.
    kinematic: the motion is that of the joints, because no poses were recorded.
    """

    bag: Path
    seconds: float
    problem: str = ""
    kinematic: bool = False


def run(values: argparse.Namespace) -> int:
    """Label, finish, say what was done; the exit status."""
    try:
        card, topics = card_of(values), topics_of(values)
        return _label(values, card, topics)
    except (BadCard, BadData, OSError, json.JSONDecodeError) as error:
        sys.stderr.write(f"molmoact label: {error}\n")
        return 2


def _label(values: argparse.Namespace, card: DataCard, topics: BagTopics) -> int:
    given = given_statistics(values.statistics, card) if values.statistics else None
    bags = [bag for root in values.bags for bag in find_bags(root)]
    values.out.mkdir(parents=True, exist_ok=True)
    _check_depth(values, card, topics, bags)
    plan = make_plan(bags, values.out, card)
    problems = plan.problems
    estimator = values.depth_estimator if card.depth_source == "estimate" else None
    pointer = values.pointer if card.trace_source == "molmo" else None
    jobs = [
        Job(
            bag, values.out, card, topics, values.instruction,
            values.depth_weights, estimator, pointer, values.device,
        )
        for bag in plan.todo
    ]  # fmt: skip
    started, seconds, kinematic = time.monotonic(), 0.0, 0
    for number, done in enumerate(in_processes(label_bag, jobs, values.jobs, _died), 1):
        if done.problem:
            problems[str(done.bag)] = done.problem
            # What another card or another verdict had made of it must not stay.
            forget(plan.todo[done.bag])
        seconds, kinematic = seconds + done.seconds, kinematic + done.kinematic
        _progress(number, len(jobs), time.monotonic() - started, seconds)
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
    if kinematic:
        sys.stderr.write(f"{kinematic} bags hold no poses: their motion is that of the joints\n")
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
    """Label one bag; a bag that cannot be used never ends the run, models that do not load do."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    depth = _depth(job.depth_weights, job.estimator, job.device)
    pointer = _pointer(job.pointer, job.device)
    try:
        recording = read_bag(job.bag, job.topics, job.instruction)
        source = str(job.bag.resolve())
        rows = label_episode(recording, job.out, job.card, depth, source, pointer)
    except BadEpisode as error:
        return Done(job.bag, 0.0, str(error))
    except Exception as error:  # noqa: BLE001 - bags break in more ways than their readers list
        kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        words = f"{kind}: {error}; the bag is damaged or of an unknown kind"
        return Done(job.bag, 0.0, words)
    seconds = (len(rows) + int(rows.info["dropped"])) / job.card.fps
    return Done(job.bag, seconds, kinematic=rows.info["action_source"] == "fk")


def _died(job: Job) -> Done:
    words = "its process was killed; look for a lack of memory and label again with fewer --jobs"
    return Done(job.bag, 0.0, words)


def _progress(number: int, total: int, spent: float, seconds: float) -> None:
    left = spent / number * (total - number)
    speed = seconds / max(spent, 1e-9)
    sys.stderr.write(f"\r{number}/{total} bags, {speed:.1f} x real time, {left:.0f} s left      ")
    sys.stderr.flush()


def _check_depth(
    values: argparse.Namespace, card: DataCard, topics: BagTopics, bags: Sequence[Path]
) -> None:
    """Compare both sources of depth where that was asked for. Raises BadData for a depth camera's
    depth in the codes of other weights that nobody compared, or that differs (spec section 8).
    """
    if values.depth_agreement is not None:
        labeller = _depth(values.depth_weights, values.depth_estimator, values.device)
        found = compare(bags, topics, card, labeller, values.depth_agreement)
        found.save(values.out)
        sys.stderr.write(f"{found.words}; {values.out / FILE}\n")
    foreign = card.depth_codebook != codebook_of()
    if card.depth_source != "sensor" or not foreign or values.unchecked_depth:
        return
    known = load_comparison(values.out)
    if known is None or known.codebook != card.depth_codebook:
        raise BadData(
            f"{values.depth_weights}: do these weights read this depth camera as they read the "
            "estimator they were trained with? Compare: --depth-agreement --depth-estimator "
            "FOLDER. Or, for weights trained on this camera: --unchecked-depth"
        )
    if not known.accepted:
        raise BadData(
            f"{known.words}; label with the estimator (--set depth_source=estimate), or go on "
            "regardless with --unchecked-depth"
        )


@lru_cache(maxsize=1)
def _depth(weights: Path | None, estimator: Path | None, device: str) -> DepthLabeller:
    return DepthLabeller(weights, DepthAnything(estimator, device) if estimator else None)


@lru_cache(maxsize=1)
def _pointer(folder: Path | None, device: str) -> Pointer | None:
    return MolmoPointer(folder, device) if folder else None
