"""``molmoact scatter --out DATA``: the scripted expert's thoughts in states drawn at random.

Simulation only, see ``data.scatter``. Writes a labelled data set that ``molmoact train`` reads, and
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.dataset import finish
from molmoact_ros.data.demonstrate import FIRST_SEED
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.label import episode_key
from molmoact_ros.data.rows import LABELS
from molmoact_ros.data.scatter import SHARD, Scatterer, Share
from molmoact_ros.policy.scripted.statistics import KEY, sim_statistics


def scatter_card(jitter: float) -> DataCard:
    """Statistics are the simulated robot's fixed ones, so data may grow while it is used."""
    labeller = DepthLabeller()
    note = f"scattered states of the simulation, camera jitter {jitter}"
    return DataCard(name=KEY, depth_codebook=labeller.codebook, software=note)


@cache
def _scatterer(jitter: float) -> Scatterer:
    """Of this process: the scene takes a second to build."""
    return Scatterer(scatter_card(jitter))


def share_of(wanted: Share) -> int:
    """One shard in a worker process."""
    return _scatterer(wanted.jitter).share(wanted)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact scatter``."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--frames", type=int, default=50_000, help="in all")
    parser.add_argument("--goals", type=int, default=3, help="asked of every frame")
    parser.add_argument("--first-seed", type=int, default=10 * FIRST_SEED)
    parser.add_argument("--jitter", type=float, default=0.0, help="of the cameras' mounts")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--finish", action="store_true", help="only make what there is usable")


def run(values: argparse.Namespace) -> int:
    """Make what is not there yet; the exit status."""
    if values.first_seed < FIRST_SEED:
        sys.stderr.write(f"molmoact scatter: seeds below {FIRST_SEED} are for scoring\n")
        return 2
    card = scatter_card(values.jitter)
    starts = range(values.first_seed, values.first_seed + values.frames, SHARD)
    wanted = [
        Share(values.out, first, SHARD, values.goals, values.jitter)
        for first in starts
        if not (values.out / LABELS / f"{episode_key(f'scatter_{first:08d}')}.parquet").exists()
    ]
    started = time.monotonic()
    if values.finish:
        wanted = []
    scatterer = Scatterer(card) if wanted and values.jobs <= 1 else None
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Spawned, not forked: a forked child waits for ever for torch's threads of the parent.
    with ProcessPoolExecutor(max(1, values.jobs), mp_context=get_context("spawn")) as pool:
        counts = map(scatterer.share, wanted) if scatterer else pool.map(share_of, wanted)
        for done, _ in enumerate(counts, 1):
            left = (time.monotonic() - started) / done * (len(wanted) - done)
            sys.stderr.write(f"\r{done * SHARD} frames, {left:.0f} s left    ")
            sys.stderr.flush()
    statistics = replace(sim_statistics(), card=card.travelling)
    finish(values.out, card, statistics=statistics)
    sys.stderr.write("\n")
    return 0
