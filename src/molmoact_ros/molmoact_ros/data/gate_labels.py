"""Checks of what rows hold: bins, gripper, traces, depth codes, rest. One function a rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.finding import FAIL, OK, WARN, Finding, skipped
from molmoact_ros.data.idle import kept_ticks
from molmoact_ros.data.label import LEAST_TRACED
from molmoact_ros.data.rows import EpisodeRows
from molmoact_ros.reasoning.trace_text import GRID, subsample_trace

SATURATED, FEWEST_BINS = 0.20, 8
STILL = 1e-4
"""Metres or radians a tick: less counts as rest."""
MOST_AT_BORDER = 0.05
MOST_IDLE = 0.05


def check_bins(data: DataSet) -> Finding:
    """Quantiles that are too narrow clip motion; too wide ones waste resolution."""
    counts = bin_counts(data)
    scaled, problems, still = data.statistics.scaled, [], []
    span = data.statistics.q99 - data.statistics.q01
    actions = np.concatenate([rows.actions for rows in data.episodes])
    moved = np.quantile(np.abs(actions - np.median(actions, axis=0)), 0.999, axis=0)
    for d in np.flatnonzero(scaled):
        edge = (counts[d, 0] + counts[d, 255]) / max(counts[d].sum(), 1)
        used = int((counts[d] > 0).sum())
        if span[d] < 1e-6 or moved[d] < STILL:
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
    dims = data.statistics.dims
    unscaled = np.flatnonzero(~data.statistics.scaled)
    grippers = sorted({d % dims for d in data.card.gripper_dims})
    if unscaled.tolist() != grippers:
        return Finding(
            FAIL, "gripper", f"the statistics leave dimensions {unscaled.tolist()} unscaled, but "
            f"the card's gripper_dims are {grippers}; name the grippers and label again",
        )  # fmt: skip
    values = np.concatenate([rows.actions for rows in data.episodes])
    training = data.statistics.normalise(values)[:, unscaled]
    if training.min() < -1e-6 or training.max() > 1.0 + 1e-6:
        return Finding(
            FAIL,
            "gripper",
            f"gripper values span {training.min():.2f}..{training.max():.2f} after conversion, "
            f"expected 0..1; correct gripper_raw ({data.card.gripper_raw}) in the card",
        )
    if not (training < 0.5).any() or not (training > 0.5).any():
        return Finding(FAIL, "gripper", "the gripper never changes; check its topic or gripper_raw")
    episodes = [rows for rows in data.episodes if rows.chunks is None]
    if not episodes:
        return Finding(OK, "gripper", f"open in {100 * (training > 0.5).mean():.0f} % of rows")
    starts = np.array([data.statistics.normalise(r.actions[0])[-1] for r in episodes])
    share = float((starts > 0.5).mean())
    level = OK if share > 0.5 else WARN
    return Finding(level, "gripper", f"{100 * share:.0f} % of episodes start with an open gripper")


def check_traces(data: DataSet) -> Finding:
    """Reasoning samples need a trace that starts at the tool and ends with one point."""
    if data.card.trace_source == "none":
        return Finding(WARN, "traces", "no traces: only actions can be trained")
    valid = np.concatenate([[t is not None for t in r.traces] for r in data.episodes])
    share = float(valid.mean())
    words = f"{100 * share:.1f} % of ticks have a trace"
    if share < LEAST_TRACED:
        needed = f"needed are {100 * LEAST_TRACED:.0f} %"
        return Finding(FAIL, "traces", f"{words}, {needed}; move the camera or label again")
    first = np.stack([t[0] for r in data.episodes for t in r.traces if t is not None])
    border = float(((first == 0) | (first == GRID)).any(axis=1).mean())
    if border > MOST_AT_BORDER:
        return Finding(
            FAIL, "traces", f"{100 * border:.0f} % of traces begin at the picture's border: points "
            "are in pixels instead of 0..255, or were clipped; label again",
        )  # fmt: skip
    torn = [r.info["episode_id"] for r in data.episodes if r.chunks is None and not _in_order(r)]
    if torn:
        return Finding(
            FAIL, "traces", f"traces of {len(torn)} episodes ({torn[0]}) do not begin at the tool "
            "and follow its later places; label again",
        )  # fmt: skip
    return Finding(OK, "traces", f"{words} and begin at the tool")


def check_crop(data: DataSet) -> Finding:
    """A random crop that leaves the trace where it was teaches up to 14 units of error."""
    card = data.card
    if card.center_crop == 1.0:
        return Finding(OK, "crop", "whole pictures: train with crop=1, the robot looks at all")
    words = f"training crops to {100 * card.center_crop:.0f} % at random, the robot to the middle"
    if card.trace_source != "none" and not card.crop_moves_trace:
        return Finding(WARN, "crop", f"{words}; traces do not follow the crop (as released)")
    return Finding(OK, "crop", words)


def check_depth(data: DataSet) -> Finding:
    """A depth camera that looks at nothing gives the same codes all the time."""
    if data.card.depth_source == "none":
        return Finding(WARN, "depth", "no depth: reasoning answers leave its sentence out")
    for rows in data.episodes:
        if rows.depth.shape[1] != 100 or rows.depth.max() > 127:
            return Finding(
                FAIL, "depth", f"{rows.info['episode_id']} has {rows.depth.shape[1]} depth codes a "
                "tick, or some above 127; expected 100 of 0..127: label again",
            )  # fmt: skip
    codes = np.concatenate([r.depth for r in data.episodes])
    used = int((np.bincount(codes.reshape(-1), minlength=128) > 0).sum())
    level = OK if used >= 16 else FAIL
    return Finding(level, "depth", f"{used} of 128 depth codes occur")


def check_idle(data: DataSet) -> Finding:
    """Ticks that wait for nothing narrow the quantiles and teach waiting."""
    recorded = [rows for rows in data.episodes if rows.chunks is None]
    if not recorded:
        return skipped("idle", "scattered states are no recording")
    kept = np.concatenate([kept_ticks(rows.actions, data.card) for rows in recorded])
    dropped = sum(int(rows.info.get("dropped", 0)) for rows in recorded)
    idle = float(1.0 - kept.mean())
    if idle > MOST_IDLE:
        return Finding(
            FAIL, "idle", f"{100 * idle:.0f} % of ticks rest for no reason (allowed "
            f"{100 * MOST_IDLE:.0f} %); label again with the card's idle thresholds",
        )  # fmt: skip
    return Finding(OK, "idle", f"{dropped} idle ticks were left out, {len(kept)} are kept")


def bin_counts(data: DataSet) -> NDArray[np.int64]:
    """How often every bin occurs, [D, 256]."""
    found = [r.bins for r in data.episodes if r.bins is not None]
    bins = np.concatenate(found)
    return np.stack([np.bincount(column, minlength=256) for column in bins.T])


def _in_order(rows: EpisodeRows) -> bool:
    """Whether every trace is where the tool is at its tick and will be later, down to one point."""
    known = [trace for trace in rows.traces if trace is not None]
    places = [(float(trace[0, 0]), float(trace[0, 1])) for trace in known]
    return all(
        len(trace) and np.array_equal(trace, np.array(subsample_trace(places[i:])))
        for i, trace in enumerate(known)
    )
