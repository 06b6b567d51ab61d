"""Checks of a labelled data set before anyone spends a night on it. One function a rule.

A failure means: do not train. A warning means: look at the report first. Thresholds are those of
docs/training.md; every finding says what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.delay import delay_ticks
from molmoact_ros.data.label import LEAST_TRACED
from molmoact_ros.data.recording import BadEpisode
from molmoact_ros.data.replay import replay_error
from molmoact_ros.data.rows import BadData
from molmoact_ros.reasoning.answer import AnswerContract, compose_answer, read_answer
from molmoact_ros.reasoning.statistics import compute_statistics
from molmoact_ros.reasoning.thought import ThoughtRefused

SATURATED, FEWEST_BINS = 0.20, 8
LATEST_TICKS = 2
REPLAY_METRES, REPLAY_RADIANS = 0.01, np.radians(2.0)
OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    """level: ok, warn or fail; rule: its name; words: a sentence for a person."""

    level: str
    rule: str
    words: str


def run_gate(data: DataSet) -> list[Finding]:
    """All checks over all episodes (open the set with split "")."""
    if not data.episodes:
        return [Finding(FAIL, "episodes", "the data set is empty; label some bags")]
    return [check(data) for check in CHECKS]


def check_split(data: DataSet) -> Finding:
    """Episodes that nobody trains on are needed to see over-fitting."""
    held = [e for e in data.listed if e["split"] == "held_out"]
    tasks = len({e["instruction"] for e in data.listed})
    words = f"{len(data.listed)} episodes of {tasks} instructions, {len(held)} held out"
    if not held or len(held) == len(data.listed):
        return Finding(FAIL, "split", f"{words}; record at least two episodes")
    level = WARN if len(held) < 2 or tasks == 1 else OK
    return Finding(level, "split", words + ("; one wording only" if tasks == 1 else ""))


def check_bins(data: DataSet) -> Finding:
    """Quantiles that are too narrow clip motion; too wide ones waste resolution."""
    counts = bin_counts(data)
    scaled, problems, still = data.statistics.scaled, [], []
    span = data.statistics.q99 - data.statistics.q01
    for d in np.flatnonzero(scaled):
        edge = (counts[d, 0] + counts[d, 255]) / max(counts[d].sum(), 1)
        used = int((counts[d] > 0).sum())
        if span[d] < 1e-6:
            still.append(int(d))
        elif edge > SATURATED:
            problems.append(
                f"dimension {d} has {100 * edge:.0f} % of its values in bins 0 and 255 (allowed "
                f"{100 * SATURATED:.0f} %): a command limit was hit, or idle ticks narrowed it"
            )
        elif used < FEWEST_BINS:
            problems.append(f"dimension {d} uses {used} bins only; check units and axes")
    if problems:
        return Finding(FAIL, "bins", "; ".join(problems))
    half = span / 510.0
    lost = np.flatnonzero(
        scaled & ((data.statistics.q01 > half) | (data.statistics.q99 < -half)) & (span >= 1e-6)
    )
    if lost.size:
        return Finding(
            WARN, "bins", f"dimensions {lost.tolist()} move one way only: the model cannot say rest"
        )
    if still:
        return Finding(WARN, "bins", f"dimensions {still} never move; fine if that is intended")
    return Finding(OK, "bins", "every moving dimension uses its bins")


def check_gripper(data: DataSet) -> Finding:
    """Open must be 1 and closed 0 after the card's convention, and both must occur."""
    grippers = np.flatnonzero(~data.statistics.scaled)
    values = np.concatenate([rows.actions for rows in data.episodes])
    training = data.statistics.normalise(values)[:, grippers]
    if training.min() < -1e-6 or training.max() > 1.0 + 1e-6:
        return Finding(
            FAIL,
            "gripper",
            f"gripper values span {training.min():.2f}..{training.max():.2f} after conversion, "
            f"expected 0..1; correct gripper_raw ({data.card.gripper_raw}) in the card",
        )
    starts = np.array([data.statistics.normalise(r.actions[0])[-1] for r in data.episodes])
    share = float((starts > 0.5).mean())
    if not (training < 0.5).any() or not (training > 0.5).any():
        return Finding(FAIL, "gripper", "the gripper never changes; check its topic or gripper_raw")
    level = OK if share > 0.5 else WARN
    return Finding(level, "gripper", f"{100 * share:.0f} % of episodes start with an open gripper")


def check_traces(data: DataSet) -> Finding:
    """Reasoning samples need a trace that starts at the tool and ends with one point."""
    if data.card.trace_source == "none":
        return Finding(WARN, "traces", "no traces: only actions can be trained")
    valid = np.concatenate([[t is not None for t in r.traces] for r in data.episodes])
    ends = [r.traces[-1] for r in data.episodes]
    torn = sum(trace is not None and len(trace) != 1 for trace in ends)
    share = float(valid.mean())
    words = f"{100 * share:.1f} % of ticks have a trace"
    if share < LEAST_TRACED or torn:
        return Finding(FAIL, "traces", f"{words}; {torn} episodes end with more than one point")
    return Finding(OK, "traces", words)


def check_depth(data: DataSet) -> Finding:
    """A depth camera that looks at nothing gives the same codes all the time."""
    if data.card.depth_source == "none":
        return Finding(WARN, "depth", "no depth: reasoning answers leave its sentence out")
    codes = np.concatenate([r.depth for r in data.episodes])
    if codes.shape[1] != 100 or codes.max() > 127:
        return Finding(FAIL, "depth", f"depth codes {codes.shape} up to {codes.max()}; label again")
    used = int((np.bincount(codes.reshape(-1), minlength=128) > 0).sum())
    level = OK if used >= 16 else FAIL
    return Finding(level, "depth", f"{used} of 128 depth codes occur")


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


def check_delay(data: DataSet) -> Finding:
    """Pictures and motion must belong to the same instant."""
    lags = [
        lag for i in range(min(len(data.episodes), 8)) if (lag := delay_ticks(data, i)) is not None
    ]
    if not lags:
        return Finding(WARN, "delay", "episodes are too short or too still to measure the delay")
    lag = float(np.median(lags))
    words = f"pictures are {lag * 1000.0 / data.card.fps:.0f} ms behind the motion"
    if abs(lag) > LATEST_TICKS:
        return Finding(FAIL, "delay", f"{words}; check stamps and clocks of camera and arm")
    return Finding(OK if abs(lag) <= 1 else WARN, "delay", words)


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


def check_replay(data: DataSet) -> Finding:
    """Decoded actions, added up, must follow the recorded poses."""
    worst: tuple[float, float, str] = (0.0, 0.0, "")
    for rows in data.episodes[:20]:
        metres, radians = replay_error(rows, data.statistics, data.card)
        if metres > worst[0] or radians > worst[1]:
            worst = max(metres, worst[0]), max(radians, worst[1]), rows.info["episode_id"]
    words = f"{1000 * worst[0]:.1f} mm and {np.degrees(worst[1]):.1f} degrees at most"
    if worst[0] > REPLAY_METRES or worst[1] > REPLAY_RADIANS:
        return Finding(
            FAIL,
            "replay",
            f"decoded actions leave the recorded path by {words} (episode {worst[2]}; allowed 10 "
            "mm and 2 degrees): check delta_frame, euler and clipped bins",
        )
    return Finding(OK, "replay", f"decoded actions follow the recorded path: {words}")


def check_padding(data: DataSet) -> Finding:
    """Rows invented behind the end should be few."""
    chunk = data.card.chunk
    slots = sum(len(r) * chunk for r in data.episodes)
    padded = sum(min(len(r), chunk - 1) * chunk // 2 for r in data.episodes) / max(slots, 1)
    level = WARN if padded > 0.1 else OK
    return Finding(level, "padding", f"{100 * padded:.1f} % of chunk rows lie behind the end")


def bin_counts(data: DataSet) -> NDArray[np.int64]:
    """How often every bin occurs, [D, 256]."""
    found = [r.bins for r in data.episodes if r.bins is not None]
    bins = np.concatenate(found)
    return np.stack([np.bincount(column, minlength=256) for column in bins.T])


CHECKS: tuple[Callable[[DataSet], Finding], ...] = (
    check_split, check_pictures, check_statistics, check_bins, check_gripper, check_traces,
    check_depth, check_answers, check_delay, check_replay, check_padding,
)  # fmt: skip
