"""Which episodes nobody trains on: by a hash of the episode's id, so that others change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

TRAIN, HELD_OUT = "train", "held_out"
HELD_OUT_SHARE, HELD_OUT_LEAST, LARGE_TASK = 0.05, 2, 10


def split_of(
    episodes: Mapping[str, str],
    recorded: Mapping[str, str] = {},
    share: float = HELD_OUT_SHARE,
) -> dict[str, str]:
    """Episode id to "train" or "held_out"; ``episodes``: id to instruction.

    Held out are ids whose hash lies in the lowest ``share``, and at least two of a task with ten
    or more (small tasks keep their demonstrations), at least one of all. ``recorded``: the split
    so far; it stays, so that nothing held out is ever trained on. Episodes that were trained on
    are held out only where their task has become large without enough others.
    """
    split = {
        name: recorded.get(name) or (HELD_OUT if _place(name) < share else TRAIN)
        for name in episodes
    }
    by_task: dict[str, list[str]] = {}
    for name, task in episodes.items():
        by_task.setdefault(task, []).append(name)
    groups = [(names, HELD_OUT_LEAST) for names in by_task.values() if len(names) >= LARGE_TASK]
    if len(split) > 1:
        groups.append((list(episodes), 1))
    for names, least in groups:
        missing = least - sum(split[name] == HELD_OUT for name in names)
        free = sorted(
            (name for name in names if split[name] == TRAIN),
            key=lambda name: (recorded.get(name) == TRAIN, _place(name)),
        )
        split.update(dict.fromkeys(free[: max(missing, 0)], HELD_OUT))
    return split


def _place(name: str) -> float:
    """0..1, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2.0**64
