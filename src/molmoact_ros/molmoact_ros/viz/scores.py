"""What the viewer says about a thought when the next one comes: did the arm go where it was said
to go, and is near really near? Pure bookkeeping around viz/agreement.py, with times in seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera
from molmoact_ros.viz.agreement import SAMPLES, depth_agreement, trace_error

Floats = NDArray[np.float64]

LEAST_MOTION_M = 0.005
"""An arm that stood (shadow, a hold) says nothing about a trace; its error would look good."""
DEPTH_PERIOD_S, DEPTH_KEPT = 0.2, 150
"""Depth is kept small and for half a minute: a large model answers about a picture that old."""
DEPTH_NEAR_S = 0.3
"""Depth further in time from the thought's picture shows another arm."""
TOOL_PERIOD_S, TOOL_KEPT = 0.05, 600


@dataclass(frozen=True)
class _Expected:
    """A thought's trace [L, 2] (0..255 grid), until the next one."""

    chunk_id: int
    stamp: float
    trace: NDArray[np.floating]


@dataclass
class Scores:
    """Feed in any order; read ``numbers``. None: nothing can be said yet."""

    trace_error_px: float | None = None
    trace_chunk: int = 0
    depth_agreement: float | None = None
    depth_chunk: int = 0
    _expected: _Expected | None = None
    _tool: deque[tuple[float, Floats]] = field(default_factory=lambda: deque(maxlen=TOOL_KEPT))
    _depth: deque[tuple[float, NDArray[np.float32]]] = field(
        default_factory=lambda: deque(maxlen=DEPTH_KEPT)
    )

    def tool(self, stamp: float, position: Floats) -> None:
        """Where the tool was measured, base frame, metres."""
        if self._tool and 0.0 <= stamp - self._tool[-1][0] < TOOL_PERIOD_S:
            return
        self._tool.append((stamp, np.asarray(position, dtype=np.float64)))

    def sensor_depth(self, stamp: float, metres: NDArray[np.float32]) -> None:
        """A depth picture [H, W] of the external camera, 0 or NaN unknown."""
        if self._depth and 0.0 <= stamp - self._depth[-1][0] < DEPTH_PERIOD_S:
            return
        small = cv2.resize(metres, (SAMPLES, SAMPLES), interpolation=cv2.INTER_NEAREST)
        self._depth.append((stamp, np.asarray(small, np.float32)))

    def thought(
        self,
        chunk_id: int,
        stamp: float,
        trace: NDArray[np.floating],
        relative: NDArray[np.floating] | None,
        camera: Camera | None,
    ) -> None:
        """A new thought about the picture of ``stamp``; the one before is judged by what was seen.

        trace [L, 2] on the 0..255 grid, empty when it must not run; relative [h, w]: its decoded
        depth, 1 = near.
        """
        if self._expected is not None and camera is not None:
            error = self._judge(self._expected, stamp, camera)
            if error is not None:
                self.trace_error_px, self.trace_chunk = error, self._expected.chunk_id
        self._expected = _Expected(chunk_id, stamp, trace)
        agreement = None if relative is None else self._agree(relative, stamp)
        if agreement is not None:
            self.depth_agreement, self.depth_chunk = agreement, chunk_id

    def numbers(self) -> dict[str, object]:
        """For diagnostics: each number with the chunk it is about."""
        out: dict[str, object] = {}
        if self.trace_error_px is not None:
            out["trace_error_px"] = f"{self.trace_error_px:.1f}"
            out["trace_error_chunk"] = self.trace_chunk
        if self.depth_agreement is not None:
            out["depth_agreement"] = f"{self.depth_agreement:.2f}"
            out["depth_agreement_chunk"] = self.depth_chunk
        return out

    def _judge(self, old: _Expected, until: float, camera: Camera) -> float | None:
        places = [place for stamp, place in self._tool if old.stamp <= stamp <= until]
        if not places or float(np.ptp(np.stack(places), axis=0).max()) < LEAST_MOTION_M:
            return None
        pixels, depth = camera.project(np.stack(places))
        seen = camera.grid_from_pixels(pixels[depth > 0.0])
        return trace_error(old.trace, seen, camera.width, camera.height)

    def _agree(self, relative: NDArray[np.floating], stamp: float) -> float | None:
        if not self._depth:
            return None
        at, metres = min(self._depth, key=lambda item: abs(item[0] - stamp))
        return depth_agreement(relative, metres) if abs(at - stamp) <= DEPTH_NEAR_S else None
