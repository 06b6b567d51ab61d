"""Do pictures and motion belong to the same instant? Change in one is compared with the other."""

from __future__ import annotations

import numpy as np

from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.rows import EpisodeRows

LONGEST = 5
"""Ticks of delay that are looked for, either way."""
CLEAR = 0.3
"""Correlation below which no delay is stated."""


def delay_ticks(data: DataSet, episode: int) -> float | None:
    """Ticks by which change in the first picture follows change of the tool; None if unclear."""
    rows: EpisodeRows = data.episodes[episode]
    if len(rows) < 20:
        return None
    name = data.card.cameras[0]
    frames = [data.picture(episode, i, name)[::4, ::4].astype(np.int16) for i in range(len(rows))]
    seen = np.array(
        [float(np.abs(b - a).mean()) for a, b in zip(frames[:-1], frames[1:], strict=True)]
    )
    moved = np.linalg.norm(np.diff(rows.states[:, :3], axis=0), axis=1)
    if seen.std() < 1e-6 or moved.std() < 1e-6:
        return None
    seen, moved = (seen - seen.mean()) / seen.std(), (moved - moved.mean()) / moved.std()
    lags = range(-LONGEST, LONGEST + 1)
    scores = [
        float(
            (
                seen[max(0, k) : len(seen) + min(0, k)] * moved[max(0, -k) : len(moved) - max(0, k)]
            ).mean()
        )
        for k in lags
    ]
    best = int(np.argmax(scores))
    return float(lags[best]) if scores[best] > CLEAR else None
