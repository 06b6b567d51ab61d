"""Paths as a person draws them: a stroke to a thing often ends at the thing.

A label's trace goes on to where the goal is reached (data contract, traces), for a cube to where it
is lifted. A network that has only seen such lines takes the end of every line for the end of the
task and waits in the air over a cube that a stroke ended at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.dataset import Tick
from molmoact_ros.data.landmarks import NAMES, read_landmarks
from molmoact_ros.reasoning.polyline import lengths, places
from molmoact_ros.train.aims import named

NEAR = 12.0
"""Grid units (0..255); a path that does not come this near to the thing leads elsewhere."""
AT = 6.0
"""Grid units between tool and thing below which the hand has come to it."""


def ending_at_the_thing(tick: Tick) -> Tick:
    """``tick`` with its trace up to the first thing that its words name; unchanged where that thing
    is not seen, not on the way, or in the hand on the way to a second one.
    """
    things = named(tick.instruction)
    if tick.trace is None or tick.landmarks is None or not things or things[0] not in NAMES:
        return tick
    marks, index = read_landmarks(tick.landmarks), NAMES.index(things[0])
    if not marks.seen[0, index] or len(tick.trace) < 2:
        return tick
    cut = cut_at(np.asarray(tick.trace, np.float64), 255.0 * marks.uv[0, index])
    at_it = cut is not None and float(np.linalg.norm(cut[-1] - cut[0])) < AT
    if cut is None or (at_it and len(things) > 1):
        return tick
    return replace(tick, trace=np.clip(np.rint(cut), 0, 255).astype(np.uint8))


def cut_at(line: NDArray[Any], thing: NDArray[Any]) -> NDArray[np.float64] | None:
    """``line`` [2..5, 2] up to where it first comes nearest to ``thing`` [2]; None: it never does.

    At least two points; they coincide where the line begins there.
    """
    starts = lengths(line)
    tries = np.linspace(0.0, float(starts[-1]), 200)
    tried = places(line, starts, tries)
    away = np.linalg.norm(tried - thing, axis=1)
    if away.min() > NEAR:
        return None
    # A way down and a way up lie on one another: the first of the nearest.
    first = int(np.flatnonzero(away <= away.min() + 1.0)[0])
    return np.vstack([line[starts < max(tries[first], 1e-9)], tried[first]])
