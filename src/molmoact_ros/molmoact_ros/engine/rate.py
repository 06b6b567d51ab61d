"""Reason rarely, act often: a full thought every k-th time, trace-conditioned ones in between.

In between, the last trace is drawn on the picture and the steering question is asked, which
MolmoAct was trained for (arXiv 2508.07917, section on steering) and which costs no depth codes and
no new trace. The answers differ by design; off (``full_every`` = 1) is the default.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Trace = NDArray[np.float32]


@dataclass(frozen=True)
class RatePlan:
    """full_every: 1 = every thought reasons fully, k = every k-th. oldest: seconds after which a
    trace is not followed any more.
    """

    full_every: int = 1
    oldest: float = 3.0

    def __post_init__(self) -> None:
        if self.full_every < 1:
            raise ValueError(f"full_every is {self.full_every}; use 1 (off) or more")
        if not self.oldest > 0:
            raise ValueError(f"oldest is {self.oldest} s; use a positive time")


class ThoughtRate:
    """Decides thought by thought; call ``reset`` when a goal starts."""

    def __init__(self, plan: RatePlan) -> None:
        self._plan = plan
        self.reset()

    def reset(self) -> None:
        """The next thought reasons fully."""
        self._trace: Trace | None = None
        self._stamp = 0.0
        self._since = 0

    def trace_for(self, stamp: float) -> Trace | None:
        """The trace [L, 2] to steer the thought about a picture of ``stamp`` (seconds) by, or None
        for a full thought. An operator's own trace goes first; do not ask then.
        """
        if self._trace is None or self._since >= self._plan.full_every - 1:
            return None
        if not 0 <= stamp - self._stamp <= self._plan.oldest:
            return None
        return self._trace

    def thought(self, stamp: float, trace: Trace, followed: bool) -> None:
        """A thought succeeded. ``followed``: it was steered by ``trace_for``; else ``trace`` is
        its own. Two points are the least that can be drawn.
        """
        if followed:
            self._since += 1
            return
        self._trace = trace if len(trace) >= 2 else None
        self._stamp, self._since = stamp, 0

    def refused(self) -> None:
        """A thought was refused: the next one starts from scratch."""
        self.reset()
