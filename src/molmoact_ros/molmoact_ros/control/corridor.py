"""A soft corridor around a drawn path in 3-D: rows that stray from it are drawn back a little.

A line on a picture says nothing about the direction in which the camera looks, and there a policy
that follows it drifts (MolmoAct paper, section on steering: the line is two-dimensional). With the
depth under the line it becomes a path in space. This goes beyond the paper and is off by default.

The corridor only bends rows that move anyway. It acts before every guard, so each of them has the
last word, and it knows nothing of heights unless told to: what lies under a line is a surface, and
the height above it is the policy's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera, Floats

SHARE = 0.5
"""Part of the excess that one row takes back: less than all of it, so nothing overshoots."""


@dataclass(frozen=True)
class Corridor:
    """points [N, 3], N >= 2: the path in the base frame, metres.

    radius_m: distance from the path within which nothing happens. pull_m: most metres a row is
    bent by. vertical: 0 leaves heights alone, 1 treats them like the other directions. Raises
    ValueError for another shape, numbers that are not finite, or a negative radius or pull.
    """

    points: Floats
    radius_m: float = 0.03
    pull_m: float = 0.004
    vertical: float = 0.0

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1:] != (3,) or len(points) < 2:
            raise ValueError(f"a corridor's path has shape {points.shape}, expected [2 or more, 3]")
        numbers = np.array([self.radius_m, self.pull_m, self.vertical])
        if not np.isfinite(points).all() or not np.isfinite(numbers).all():
            raise ValueError("a corridor holds NaN or infinity; drop it when depth is unknown")
        if (numbers < 0.0).any() or self.vertical > 1.0:
            raise ValueError(
                f"corridor radius {self.radius_m} m, pull {self.pull_m} m, vertical "
                f"{self.vertical}: expected none below 0 and vertical at most 1"
            )
        object.__setattr__(self, "points", points)

    def off_path(self, position: Floats) -> Floats:
        """The vector [3] from ``position`` to the nearest place of the path; zero beyond its ends.

        Heights count by ``vertical``. Beyond the ends there is no path to come back to: the last
        point is a goal and not a leash.
        """
        scale = np.array([1.0, 1.0, self.vertical])
        here, path = np.asarray(position, dtype=np.float64) * scale, self.points * scale
        starts, ways = path[:-1], np.diff(path, axis=0)
        lengths = np.maximum((ways**2).sum(axis=1), 1e-12)
        along = ((here - starts) * ways).sum(axis=1) / lengths
        nearest = starts + np.clip(along, 0.0, 1.0)[:, None] * ways
        best = int(np.argmin(((nearest - here) ** 2).sum(axis=1)))
        before = best == 0 and along[0] < 0.0
        behind = best == len(ways) - 1 and along[-1] > 1.0
        return np.zeros(3) if before or behind else nearest[best] - here

    def bent(self, position: Floats, delta: Floats, step_m: float) -> Floats:
        """The row ``delta`` [6] from ``position`` [3], drawn towards the path.

        The bend is at most ``pull_m``, at most as long as the row itself (an arm that is told to
        stand stands), and the result at most ``step_m`` or as long as the row was. Turns stay.
        """
        out = np.array(delta, dtype=np.float64)
        length = float(np.linalg.norm(out[:3]))
        off = self.off_path(position + out[:3])
        distance = float(np.linalg.norm(off))
        excess = distance - self.radius_m
        if excess <= 0.0 or length == 0.0:
            return out
        out[:3] += off / distance * min(SHARE * excess, self.pull_m, length)
        now = float(np.linalg.norm(out[:3]))
        if now > max(step_m, length):
            out[:3] *= max(step_m, length) / now
        return out


def path_above(
    surface: Floats, camera: Camera, clearance_m: float, tool: NDArray[Any] | None = None
) -> Floats:
    """Places [N, 3] ``clearance_m`` above surfaces [N, 3] on the same lines of sight.

    A tool that is *seen* on the line stands in front of the surface that is seen there; straight
    above it, it would be seen elsewhere. tool [3]: where it was, when the line begins at it.
    Raises ValueError when the camera is not above the surfaces.
    """
    eye = camera.base_from_optical[:3, 3]
    rise = eye[2] - surface[:, 2]
    if (rise <= clearance_m).any():
        raise ValueError(
            f"the camera is {float(rise.min()):.2f} m above what is seen, expected more than "
            f"{clearance_m:g} m; check its calibration or lower the clearance"
        )
    path: Floats = surface + (eye - surface) * (clearance_m / rise)[:, None]
    if tool is not None:
        path[0] = tool
    return path
