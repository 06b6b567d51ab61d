"""Which ticks are worth learning from: an arm that waits for nothing teaches waiting.

The rule of the LIBERO recipe (no motion, gripper unchanged) with metric thresholds and two
exceptions that matter when fingers need a second to close: rest right after a gripper command is
part of the skill, and so is coming to rest at the end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.data.card import DataCard


def kept_ticks(actions: NDArray[np.float32], card: DataCard) -> NDArray[np.bool_]:
    """Mask [T] of ticks to keep, from raw actions [T, D] (dx dy dz droll dpitch dyaw ... grip)."""
    count, dims = actions.shape
    grippers = sorted(d % dims for d in card.gripper_dims)
    moving = np.linalg.norm(actions[:, :3], axis=1) >= card.idle_metres
    turning = [d for d in range(3, dims) if d not in grippers]
    moving |= np.linalg.norm(actions[:, turning], axis=1) >= card.idle_radians
    kept = np.zeros(count, dtype=bool)
    after_grip = round(card.keep_after_grip * card.fps)
    at_end = round(card.keep_at_end * card.fps)
    moved = np.flatnonzero(moving)
    last_motion = int(moved[-1]) if moved.size else -1
    previous, since_grip = actions[0, grippers], count
    for i in range(count):
        changed = bool(np.any(np.abs(actions[i, grippers] - previous) > 1e-6))
        since_grip = 0 if changed else since_grip + 1
        resting = i > last_motion >= 0 and i - last_motion <= at_end
        kept[i] = moving[i] or changed or since_grip < after_grip or resting
        if kept[i]:
            previous = actions[i, grippers]
    return kept
