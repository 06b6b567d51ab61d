"""Several arms under one commander: one thought moves all of them or none.

A chunk of n arms has n times seven columns, arm by arm in the order of their names: dx dy dz
droll dpitch dyaw gripper, each in its own base frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from molmoact_ros.control.command import Command, Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.guards import CHUNK_COLUMNS


class Arms:
    """One or more commanders by name; the name of a single arm may be ""."""

    def __init__(self, commanders: Mapping[str, Commander]) -> None:
        if not commanders:
            raise ValueError("no arms: name at least one")
        self.commanders = dict(commanders)
        self._last: dict[str, Command] = {}

    @property
    def selected(self) -> Source:
        return next(iter(self.commanders.values())).selected

    def select_source(self, source: Source, now: float) -> str:
        """For all arms. Returns "" or why it was refused."""
        return self._first(c.select_source(source, now) for c in self.commanders.values())

    def stop(self, now: float, reason: str = "by the operator") -> None:
        """All arms come to rest and stay until ``reset``."""
        for commander in self.commanders.values():
            commander.stop(now, reason)

    def emergency_stop(self, pressed: bool, now: float) -> None:
        for commander in self.commanders.values():
            commander.emergency_stop(pressed, now)

    def hold_to_run(self, pressed: bool, now: float) -> None:
        for commander in self.commanders.values():
            commander.operator.hold_to_run(pressed, now)

    def reset(self, now: float) -> str:
        """Returns "" or why it was refused."""
        return self._first(c.reset(now) for c in self.commanders.values())

    def end_goal(self, goal_id: str, now: float) -> None:
        for commander in self.commanders.values():
            commander.end_goal(goal_id, now)

    def feed_chunk(self, rows: ArrayLike, stamp: float, now: float, goal_id: str = "") -> str:
        """A thought's chunk [N, 7 n]; refused for one arm, it is dropped for all of them.

        Returns "" or why it was refused.
        """
        commanders = list(self.commanders.items())
        table = np.asarray(rows)
        if table.size == 0 or len(commanders) == 1:
            return self._first(c.feed_chunk(rows, stamp, now, goal_id) for _, c in commanders)
        columns = CHUNK_COLUMNS * len(commanders)
        if table.ndim != 2 or table.shape[1] != columns:
            # Each commander refuses it in its own words and remembers them for its status.
            parts = [table] * len(commanders)
        else:
            parts = np.split(table, len(commanders), axis=1)
        refusals = {
            name: commander.feed_chunk(part, stamp, now, goal_id)
            for (name, commander), part in zip(commanders, parts, strict=True)
        }
        bad = {name: text for name, text in refusals.items() if text}
        if not bad:
            return ""
        for name, commander in commanders:
            if name not in bad:
                commander.feed_chunk((), stamp, now, goal_id)
        return "; ".join(f"{name}: {text}" for name, text in bad.items())

    def step(self, now: float) -> dict[str, Command]:
        """One command for each arm. An arm that cannot move holds the others."""
        several = len(self.commanders) > 1
        for name, commander in self.commanders.items():
            others = [(n, c) for n, c in self._last.items() if n != name] if several else []
            stuck = [f"the {n} arm: {c.reason}" for n, c in others if c.blocked]
            commander.feed_partner("; ".join(stuck))
        self._last = {name: c.step(now) for name, c in self.commanders.items()}
        return self._last

    @staticmethod
    def _first(texts: Iterable[str]) -> str:
        """The first that is not empty, after all of them were made."""
        return next((text for text in list(texts) if text), "")


def together(commands: Mapping[str, Command]) -> Command:
    """One status for all arms: the one that says most, and everybody's reasons by name."""
    if len(commands) == 1:
        return next(iter(commands.values()))
    # Who is stopped or holds says more than who moves.
    worst = min(commands.values(), key=lambda c: (c.enabled, not c.blocked, c.source))
    reasons = [f"{name}: {c.reason}" for name, c in commands.items() if c.reason]
    return replace(
        worst,
        limited=any(c.limited for c in commands.values()),
        reason="; ".join(reasons),
        tracking_error=max(c.tracking_error for c in commands.values()),
    )
