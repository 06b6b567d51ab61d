"""Checks of a labelled data set before anyone spends a night on it. One function a rule.

A failure means: do not train. A warning means: look at the report first. Thresholds are those of
docs/training.md; every finding says what was found and what to do. Rows of ``molmoact scatter``
belong to no episode: what needs one is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from molmoact_ros.data.dataset import DataSet, read_quarantine
from molmoact_ros.data.finding import FAIL, OK, WARN, Finding
from molmoact_ros.data.gate_labels import (
    check_bins,
    check_crop,
    check_depth,
    check_gripper,
    check_idle,
    check_traces,
)
from molmoact_ros.data.gate_motion import check_delay, check_replay, check_simulation
from molmoact_ros.data.lengths import LIMIT, check_lengths
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.rows import BadData
from molmoact_ros.reasoning.answer import AnswerContract, compose_answer, read_answer
from molmoact_ros.reasoning.statistics import compute_statistics
from molmoact_ros.reasoning.thought import ThoughtRefused

MOST_PADDED, MOST_QUARANTINED = 0.10, 0.20


def run_gate(
    data: DataSet, base: Path | None = None, limit: int = LIMIT, simulate: bool = True
) -> list[Finding]:
    """All checks over all episodes (open the set with split "").

    base, limit: see ``check_lengths``. simulate: also drive an episode on the simulated arm, which
    takes as long as the episode.
    """
    if not data.episodes or not len(data):
        return [Finding(FAIL, "episodes", "the data set is empty; label some bags")]
    found = [check(data) for check in CHECKS]
    found.append(check_lengths(data, base, limit))
    return [*found, check_simulation(data)] if simulate else found


def check_split(data: DataSet) -> Finding:
    """Episodes that nobody trains on are needed to see over-fitting."""
    held = sum(entry["split"] == "held_out" for entry in data.listed)
    scattered = all(rows.chunks is not None for rows in data.episodes)
    tasks = len({entry["instruction"] for entry in data.listed})
    what, more = "episodes", "record at least two episodes"
    if scattered:
        # Words belong to the rows; a file holds many scenes.
        tasks = len({words for rows in data.episodes for words in rows.instructions})
        what, more = "files of rows", "scatter more frames to have some"
    words = f"{len(data.listed)} {what}, {tasks} instructions, {held} held out"
    if not held or held == len(data.listed):
        return Finding(WARN if scattered else FAIL, "split", f"{words}; {more}")
    level = WARN if held < 2 or tasks == 1 else OK
    return Finding(level, "split", words + ("; one wording only" if tasks == 1 else ""))


def check_quarantine(data: DataSet) -> Finding:
    """Recordings that could not be used are told, not forgotten."""
    reasons = read_quarantine(data.folder)
    if not reasons:
        return Finding(OK, "quarantine", "every recording could be used")
    share = len(reasons) / (len(reasons) + len(data.listed))
    words = (
        f"{len(reasons)} recordings ({100 * share:.0f} %) could not be used, see quarantine.json; "
        f"the first: {next(iter(reasons.values()))}"
    )
    return Finding(WARN if share > MOST_QUARANTINED else OK, "quarantine", words)


def check_statistics(data: DataSet) -> Finding:
    """The statistics file must belong to these rows: kept train ticks only."""
    stored = data.statistics
    if stored.num_transitions == 0:
        return Finding(WARN, "statistics", "the bins were given, not computed from these rows")
    train = [r for r in data.episodes if r.info["split"] == "train"]
    again = compute_statistics(
        np.concatenate([r.actions for r in train]),
        np.concatenate([np.full(len(r), i) for i, r in enumerate(train)]),
        data.card.travelling,
    )
    if not np.allclose(again.q01, stored.q01, atol=1e-9) or not np.allclose(
        again.q99, stored.q99, atol=1e-9
    ):
        return Finding(FAIL, "statistics", "file and rows disagree; run molmoact label again")
    return Finding(
        OK,
        "statistics",
        f"{stored.num_trajectories} episodes, {stored.num_transitions} ticks to train on",
    )


def check_pictures(data: DataSet) -> Finding:
    """Every camera's pictures can be read and have the card's size."""
    for index, rows in enumerate(data.episodes):
        for name in data.card.cameras:
            for frame in (0, len(rows) - 1):
                try:
                    shape = data.picture(index, frame, name).shape
                except (BadData, BadEpisode, KeyError) as error:
                    return Finding(FAIL, "pictures", f"{rows.info['episode_id']}: {error}")
                if (shape[1], shape[0]) != data.card.image_size:
                    return Finding(
                        FAIL, "pictures", f"{name} is {shape[1]}x{shape[0]}; label again"
                    )
    return Finding(OK, "pictures", f"{', '.join(data.card.cameras)}: all of one size")


def check_answers(data: DataSet) -> Finding:
    """What is taught must be what the robot's parser reads back, bin for bin."""
    contracts = {
        steered: AnswerContract(
            data.statistics, rows=data.card.chunk, dims=data.statistics.dims, steered=steered,
            depth_required=data.card.depth_source != "none",
        )
        for steered in (False, True)
    }  # fmt: skip
    for number in np.linspace(0, len(data) - 1, min(len(data), 50)).astype(int):
        tick = data.tick(int(number))
        steered = tick.trace is None
        wording = "steering" if steered else data.card.wording
        depth = None if steered else tick.depth
        text = compose_answer(depth, tick.trace, tick.bins, wording)
        try:
            if not np.array_equal(read_answer(text, contracts[steered]).bins, tick.bins):
                return Finding(FAIL, "answers", f"tick {number} reads back as other actions")
        except ThoughtRefused as refusal:
            return Finding(FAIL, "answers", f"tick {number}: {refusal.reason}")
    return Finding(OK, "answers", "answers read back bin for bin")


def check_padding(data: DataSet) -> Finding:
    """Rows invented behind the end should be few."""
    chunk = data.card.chunk
    episodes = [len(rows) for rows in data.episodes if rows.chunks is None]
    if not episodes:
        return Finding(OK, "padding", "rows bring their own chunks")
    # The tick with k ticks left invents chunk - k rows.
    padded = sum(max(chunk - left, 0) for count in episodes for left in range(1, count + 1))
    share = padded / (sum(episodes) * chunk)
    words = f"{100 * share:.1f} % of chunk rows lie behind the end"
    if share > MOST_PADDED:
        return Finding(WARN, "padding", f"{words}; episodes are short for chunks of {chunk}")
    return Finding(OK, "padding", words)


CHECKS: tuple[Callable[[DataSet], Finding], ...] = (
    check_split, check_quarantine, check_pictures, check_crop, check_statistics, check_idle,
    check_bins, check_gripper, check_traces, check_depth, check_answers, check_padding,
    check_delay, check_replay,
)  # fmt: skip
