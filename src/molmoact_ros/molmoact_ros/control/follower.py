"""One step of a reference that moves smoothly: bounded speed, bounded acceleration, inside a box.

The reference is what the arm is asked to follow. It chases a wanted twist, so holding is simply
the wanted twist zero, and no source can make it jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.control.guards import (
    Limits,
    clamp_to_workspace,
    fit_twist,
    moved_by,
    twist_between,
)
from molmoact_ros.geometry import Floats, Pose

CATCH_UP_PER_S = 10.0
"""Position error to catch-up speed, 1/s: a 1 cm lag is worked off at 0.1 m/s."""


@dataclass(frozen=True)
class Reference:
    """A commanded pose in the base frame and its twist [6] (m/s, rad/s)."""

    pose: Pose
    twist: Floats

    @staticmethod
    def at_rest(pose: Pose) -> Reference:
        return Reference(pose, np.zeros(6))


def chase(
    reference: Reference,
    wanted: Pose,
    feed_forward: Floats,
    limits: Limits,
    room: tuple[float, float] = (np.inf, np.inf),
) -> Floats:
    """The twist [6] that follows a path now at ``wanted`` and moving with ``feed_forward`` [6].

    ``room``: metres and radians of path that are still known to come. The speed stays low enough
    to stop within them, so that the end of a chunk is reached and not overshot.
    """
    error = twist_between(reference.pose, wanted, 1.0)
    out = np.array(feed_forward, dtype=np.float64)
    for part, acceleration, left in (
        (slice(0, 3), limits.acceleration_m_s2, room[0]),
        (slice(3, 6), limits.acceleration_rad_s2, room[1]),
    ):
        distance = float(np.linalg.norm(error[part]))
        if distance > 1e-9:
            speed = min(CATCH_UP_PER_S * distance, np.sqrt(acceleration * distance))
            out[part] += error[part] / distance * speed
        wanted_speed = float(np.linalg.norm(out[part]))
        # 1.5 instead of 2: braking in ticks needs a little more room than v^2 / 2a.
        stoppable = np.sqrt(1.5 * acceleration * (left + distance))
        if wanted_speed > stoppable:
            out[part] *= stoppable / wanted_speed
    return fit_twist(out, limits.speed_m_s, limits.speed_rad_s)[0]


def advance(
    reference: Reference, wanted_twist: Floats, limits: Limits, dt: float
) -> tuple[Reference, str]:
    """The reference ``dt`` > 0 seconds later, and which limit was felt ("" if none).

    Order matters: speed, then acceleration, then the box, which beats smoothness. Walls are
    approached with half the acceleration limit, so reaching one is a stop and not a hit.
    """
    felt = []
    twist, too_fast = fit_twist(wanted_twist, limits.speed_m_s, limits.speed_rad_s)
    if too_fast:
        felt.append("speed limit")
    change, _ = fit_twist(
        twist - reference.twist, limits.acceleration_m_s2 * dt, limits.acceleration_rad_s2 * dt
    )
    twist = reference.twist + change
    braked = _brake_at_walls(reference.pose.position, twist[:3], limits, dt)
    if np.abs(braked - twist[:3]).max() > 1e-9:
        felt.append("at the edge of the workspace box")
    pose, touched = clamp_to_workspace(
        moved_by(reference.pose, np.concatenate([braked, twist[3:]]), dt), limits
    )
    if touched and touched not in felt:
        felt.append(touched)
    return Reference(pose, twist_between(reference.pose, pose, dt)), "; ".join(felt)


def _brake_at_walls(position: Floats, velocity: Floats, limits: Limits, dt: float) -> Floats:
    """``velocity`` [3] reduced so that every wall of the box can still be stopped at."""

    def stoppable(distance: Floats) -> Floats:
        room = np.maximum(distance, 0.0)
        return np.minimum(np.sqrt(limits.acceleration_m_s2 * room), room / dt)

    upward = stoppable(np.asarray(limits.box_max_m) - position)
    downward = stoppable(position - np.asarray(limits.box_min_m))
    return np.clip(velocity, -downward, upward)
