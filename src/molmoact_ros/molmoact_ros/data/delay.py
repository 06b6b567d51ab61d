"""Do pictures and motion belong to the same instant? Change in one is compared with the other."""

from __future__ import annotations

import numpy as np

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.rows import EpisodeRows
from molmoact_ros.geometry import Floats

LONGEST = 5
"""Ticks of delay that are looked for, either way."""
CLEAR, CHANCE = 0.3, 3.0
"""Correlation below which no delay is stated: 0.3, or what N unrelated pairs reach by chance
(standard deviations, each 1 / sqrt(N))."""
LEAST = 20
"""Ticks of an episode that is looked at."""


def delay_ticks(data: DataSet, episode: int) -> float | None:
    """Ticks by which change in the first picture follows change of the tool; None if unclear."""
    rows: EpisodeRows = data.episodes[episode]
    if len(rows) < LEAST:
        return None
    name = data.card.cameras[0]
    frames = [data.picture(episode, i, name)[::4, ::4].astype(np.int16) for i in range(len(rows))]
    changed = [float(np.abs(b - a).mean()) for a, b in zip(frames[:-1], frames[1:], strict=True)]
    # Idle ticks are left out of the rows, not of time.
    place = np.rint(rows.timestamps * data.card.fps).astype(np.int64)
    neighbours = np.diff(place) == 1
    moved, seen = np.full((2, int(place[-1])), np.nan)
    moved[place[:-1][neighbours]] = np.linalg.norm(np.diff(rows.states[:, :3], axis=0), axis=1)[
        neighbours
    ]
    seen[place[:-1][neighbours]] = np.array(changed)[neighbours]
    return lag_between(moved, seen)


def lag_between(moved: Floats, seen: Floats) -> float | None:
    """Ticks by which ``seen`` [N] follows ``moved`` [N], -5..5; None where they are not alike.

    NaN where nothing is known.
    """
    count = len(moved)
    lags, scores = range(-LONGEST, LONGEST + 1), []
    for k in lags:
        a, b = moved[max(0, -k) : count - max(0, k)], seen[max(0, k) : count + min(0, k)]
        known = np.isfinite(a) & np.isfinite(b)
        scores.append(_alike(a[known], b[known]))
    best = int(np.argmax(scores))
    known = np.isfinite(moved) & np.isfinite(seen)
    clear = max(CLEAR, CHANCE / np.sqrt(max(int(known.sum()), 1)))
    return float(lags[best]) if scores[best] > clear else None


def _alike(a: Floats, b: Floats) -> float:
    """Correlation; 0 of too few or of numbers that stay the same."""
    if len(a) < LEAST // 2 or a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()))
