"""What is left of a path that a person drew, as the arm follows it.

A model learns from traces that begin at the gripper (MolmoAct paper, section 3). A stroke is drawn
once and stays; shown whole, its first part leads back to where the arm has been.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.policy.base import Observation
from molmoact_ros.reasoning.polyline import lengths, places

Points = NDArray[np.float32]
Lengths = NDArray[np.float64]

WINDOW = 40.0
"""Grid units the tool may have come along the path since the last thought."""
SKIPPING = 0.25
"""What a unit ahead costs against a unit aside: a path that comes back beside itself is not cut
short."""
TURN = 8.0
"""Grid units; a point at which the path turns back is passed only from this near."""
BESIDE = 25.0
"""Grid units; farther away the tool has not met the path yet."""


class PathAhead:
    """Remembers how far along the path the tool has come; a new path starts anew."""

    def __init__(self) -> None:
        self._key, self._done, self._turned = b"", 0.0, 0

    def seen(self, observation: Observation, points: Points) -> Points:
        """``points`` [2..5, 2] (0..255 grid of the first picture) from the tool on, [2..5, 2].

        All of them where the camera's calibration or the tool's pose is not known.
        """
        if observation.camera is None or observation.ee_pose is None or len(points) < 2:
            return points
        pixels, depths = observation.camera.project(observation.ee_pose.position[None])
        if depths[0] <= 0.0:
            return points
        return self.left(points, observation.camera.grid_from_pixels(pixels)[0])

    def left(self, points: Points, tool: NDArray[np.floating]) -> Points:
        """As ``seen`` for a tool at ``tool`` [2] on the grid."""
        key = points.tobytes()
        if key != self._key:
            self._key, self._done, self._turned = key, 0.0, 0
        line = np.asarray(points, np.float64)
        starts = lengths(line)
        tries = np.linspace(self._done, self._open(line, starts, tool), 81)
        tried = places(line, starts, tries)
        away = np.linalg.norm(tried - tool, axis=1)
        best = int(np.argmin(away + SKIPPING * (tries - self._done)))
        if away[best] > BESIDE:
            best = 0
        self._done = float(tries[best])
        begin = tool if away[best] <= BESIDE else tried[best]
        rest = line[1:][starts[1:] > self._done]
        if not len(rest):
            rest = line[-1:]
        return np.clip(np.vstack([begin, rest]), 0.0, 255.0).astype(np.float32)

    def _open(self, line: Lengths, starts: Lengths, tool: NDArray[np.floating]) -> float:
        """Length the tool may have come: to where the path turns back, until it has been there.

        Down to a cube and up again: a hand that passes beside the cube must still come to it.
        """
        end = min(self._done + WINDOW, float(starts[-1]))
        ways = np.diff(line, axis=0)
        for index in range(self._turned + 1, len(line) - 1):
            if starts[index] > end:
                break
            if float(ways[index - 1] @ ways[index]) >= 0.0:
                continue
            if np.linalg.norm(line[index] - tool) > TURN:
                # Just before it, so that the point itself is still among what is left.
                return max(self._done, float(np.nextafter(starts[index], 0.0)))
            self._turned = index
        return end
