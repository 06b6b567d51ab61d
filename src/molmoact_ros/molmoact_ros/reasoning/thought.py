"""What one inference produced: depth codes, a visual trace and an action chunk."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class ThoughtRefused(ValueError):
    """A model's answer that must not become a motion.

    ``reason`` is one sentence for a person; ``text`` the answer, kept for diagnosis.
    """

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.text = text


@dataclass(frozen=True)
class Thought:
    """One parsed answer.

    depth: codes uint8 [rows, cols] (10 x 10) of the first image, or None when steered.
    trace: float32 [L, 2], L in 0..5, on the 0..255 grid of the first image; x right, y down.
    actions: float64 [N, D] in physical units: metres, radians, gripper 1 = open, 0 = closed.
    timings: stage name -> seconds.
    """

    text: str
    depth: NDArray[np.uint8] | None
    trace: NDArray[np.float32]
    actions: NDArray[np.float64]
    steered: bool = False
    timings: dict[str, float] = field(default_factory=dict)
