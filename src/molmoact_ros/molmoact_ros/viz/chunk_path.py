"""An action chunk as the poses it would visit: for drawing, never for driving.

control/ integrates deltas on the commanded pose with guards; this is the plain sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Pose

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChunkPath:
    """poses: N + 1, the start first, base frame. gripper: [N], 1 open, 0 closed, of each row."""

    poses: tuple[Pose, ...]
    gripper: Floats

    @property
    def positions(self) -> Floats:
        """Positions [N + 1, 3] in metres, base frame."""
        return np.stack([pose.position for pose in self.poses])


def chunk_path(start: Pose, actions: NDArray[np.floating]) -> ChunkPath:
    """Add rows [N, 7] (dx dy dz droll dpitch dyaw gripper; metres, radians) to ``start``.

    Deltas are in the base frame, extrinsic xyz (geometry.py). N may be 0. Raises
    ValueError when the shape is wrong or a number is not finite.
    """
    rows = np.asarray(actions, dtype=np.float64)
    if rows.size == 0:
        return ChunkPath((start,), np.zeros(0))
    if rows.ndim != 2 or rows.shape[1] != 7:
        raise ValueError(
            f"chunk has shape {rows.shape}, expected [N, 7] end-effector deltas; "
            "a joint-space chunk cannot be drawn this way"
        )
    if not np.isfinite(rows).all():
        raise ValueError("chunk holds NaN or infinity; refuse the thought instead of drawing it")
    poses = [start]
    for row in rows:
        poses.append(poses[-1].moved(row[:6]))
    return ChunkPath(tuple(poses), rows[:, 6].copy())
