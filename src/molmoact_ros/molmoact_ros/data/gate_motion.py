"""Checks that set an episode in motion: pictures against motion, and the actions driven again."""

from __future__ import annotations

import numpy as np

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.delay import delay_ticks
from molmoact_ros.data.finding import FAIL, OK, WARN, Finding, skipped
from molmoact_ros.data.replay import (
    Error,
    arm_lag,
    decoded_error,
    measured_error,
    why_not_replayed,
)
from molmoact_ros.data.rows import EpisodeRows

LATEST_TICKS = 2
ALLOWED = Error(0.01, float(np.radians(2.0)))
"""Of the decoded path from the commanded one, at its worst tick (spec/data.md, section 18)."""
GIVING = Error(0.015, float(np.radians(4.0)))
"""Of a path from the measured one: a soft controller gives way. The simulated arm's is 9 mm and
2.6 degrees from its commands while it carries a cube."""
MOST_EPISODES = 50


def check_delay(data: DataSet) -> Finding:
    """Pictures and motion must belong to the same instant."""
    recorded = [i for i, rows in enumerate(data.episodes) if not unfit(rows)]
    if not recorded:
        return skipped("delay", unfit(data.episodes[0]))
    lags = [lag for i in recorded[:8] if (lag := delay_ticks(data, i)) is not None]
    if not lags:
        return Finding(WARN, "delay", "episodes are too short or too still to measure the delay")
    lag = float(np.median(lags))
    words = f"pictures are {lag * 1000.0 / data.card.fps:.0f} ms behind the motion"
    if abs(lag) > LATEST_TICKS:
        return Finding(FAIL, "delay", f"{words}; check stamps and clocks of camera and arm")
    return Finding(OK if abs(lag) <= 1 else WARN, "delay", words)


def check_replay(data: DataSet) -> Finding:
    """Actions added up must stay with the recorded poses to the end.

    As commanded with the measured ones, in nine episodes of ten: a wrong frame, convention or unit
    parts them in all, a hand that pushed against something in one. As decoded with the commanded
    ones, in half of the episodes at least: the quantiles clip two ticks in a hundred by definition.
    """
    episodes, why = _replayable(data)
    if why:
        return skipped("replay", why)
    lag = arm_lag(episodes[:8], data.card)
    astray, clipped, largest = [], [], Error(0.0, 0.0)
    for rows in episodes:
        name = rows.info["episode_id"]
        measured = measured_error(rows, data.card, lag)
        decoded = decoded_error(rows, data.statistics, data.card)
        largest = Error(max(largest.metres, decoded.metres), max(largest.radians, decoded.radians))
        if _beyond(measured, GIVING):
            astray.append(f"{name}: {_words(measured)}")
        if _beyond(decoded, ALLOWED):
            clipped.append(f"{name}: {_words(decoded)}")
    left = (
        f"commands added up leave the measured path in {len(astray)} of {len(episodes)} episodes, "
        f"{'; '.join(astray[:3])} (allowed {_words(GIVING)})"
    )
    if 10 * len(astray) > len(episodes):
        return Finding(
            FAIL, "replay", f"{left}: check delta_frame, euler, units and that states are tool "
            "poses, or label with action_source measured",
        )  # fmt: skip
    if clipped:
        return Finding(
            FAIL if 2 * len(clipped) > len(episodes) else WARN,
            "replay",
            f"bins lose motion in {len(clipped)} of {len(episodes)} episodes, {clipped[0]} (allowed"
            f" {_words(ALLOWED)}): fast motions are too rare for the statistics, or those are not "
            "of this data",
        )
    if astray:
        return Finding(
            WARN, "replay", f"{left}: did something hold or push the arm? Where that should "
            "not be taught, label the episode a failure and run molmoact label again",
        )  # fmt: skip
    return Finding(
        OK, "replay", f"decoded actions stay within {_words(largest)} of the commands in "
        f"{len(episodes)} episodes; the arm follows these by {1000 * lag:.0f} ms",
    )  # fmt: skip


def check_simulation(data: DataSet) -> Finding:
    """The simulated FR3, driven by one decoded episode, must come where the recorded arm came."""
    episodes, why = _replayable(data)
    if not why and data.card.delta_frame != "base":
        why = "the simulated robot takes steps in the base frame"
    if why:
        return skipped("simulation", why)
    try:
        from molmoact_ros.evals.sim_replay import OutOfReach, sim_error
    except ImportError as error:
        return skipped("simulation", f"{error.name or error} is not installed")
    lag = arm_lag(episodes[:8], data.card)
    # What clipped bins lose is check_replay's to judge.
    whole = [
        r for r in episodes if not _beyond(decoded_error(r, data.statistics, data.card), ALLOWED)
    ] or episodes
    rows = sorted(whole, key=len)[len(whole) // 2]
    try:
        error_ = sim_error(rows, data.statistics, data.card, lag)
    except OutOfReach as refusal:
        return skipped("simulation", str(refusal))
    words = f"episode {rows.info['episode_id']}: {_words(error_)} at most"
    if _beyond(error_, GIVING):
        return Finding(
            FAIL, "simulation", f"the simulated arm leaves the recorded path, {words} (allowed "
            f"{_words(GIVING)}): check delta_frame, euler and fps",
        )  # fmt: skip
    return Finding(OK, "simulation", f"the simulated arm follows the recorded path, {words}")


def unfit(rows: EpisodeRows) -> str:
    """Why rows say nothing about motion in time; empty for a recording with states."""
    if rows.chunks is not None:
        return "scattered states are no recording"
    known = rows.states.shape[1] >= 3 and bool(rows.states[:, :3].any())
    return "" if known else "no recorded tool poses"


def _replayable(data: DataSet) -> tuple[list[EpisodeRows], str]:
    """Episodes evenly out of all that can be replayed, or none and why."""
    whys = [why_not_replayed(rows, data.card) for rows in data.episodes]
    fit = [rows for rows, why in zip(data.episodes, whys, strict=True) if not why]
    if not fit:
        return [], whys[0]
    chosen = np.linspace(0, len(fit) - 1, min(len(fit), MOST_EPISODES)).astype(int)
    return [fit[i] for i in chosen], ""


def _beyond(error: Error, allowed: Error) -> bool:
    return error.metres > allowed.metres or error.radians > allowed.radians


def _words(error: Error) -> str:
    return f"{1000 * error.metres:.1f} mm and {np.degrees(error.radians):.1f} degrees"
