"""Static transforms between named frames: enough of tf2 to calibrate a camera from /tf_static.

tf2_ros is not in the PyPI wheels, and a camera bolted to the table needs no time travel.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from molmoact_ros.geometry import Floats


class UnknownTransform(LookupError):
    """No chain of transforms joins the two frames; the message says what was received."""


class FrameTree:
    """Homogeneous transforms [4, 4] between parent and child frames; the newest wins."""

    def __init__(self) -> None:
        self._edges: dict[str, dict[str, Floats]] = {}

    def add(self, parent: str, child: str, parent_from_child: Floats) -> None:
        self._edges.setdefault(parent, {})[child] = parent_from_child
        inverse: Floats = np.asarray(np.linalg.inv(parent_from_child), dtype=np.float64)
        self._edges.setdefault(child, {})[parent] = inverse

    def lookup(self, target: str, source: str) -> Floats:
        """``target_from_source`` [4, 4]. Raises UnknownTransform."""
        queue: deque[tuple[str, Floats]] = deque([(target, np.eye(4))])
        seen = {target}
        while queue:
            frame, target_from_frame = queue.popleft()
            if frame == source:
                return target_from_frame
            for neighbour, frame_from_neighbour in self._edges.get(frame, {}).items():
                if neighbour not in seen:
                    seen.add(neighbour)
                    queue.append((neighbour, target_from_frame @ frame_from_neighbour))
        known = ", ".join(sorted(self._edges)) or "none"
        raise UnknownTransform(
            f"no transform from '{source}' to '{target}' (frames received: {known}): publish the "
            "camera's calibration, e.g. static_transform_publisher from the base to the camera link"
        )
