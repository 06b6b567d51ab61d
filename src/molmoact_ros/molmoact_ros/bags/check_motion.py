"""What the arm did: steps beyond the bins, fingers that obey the wrong way round, idleness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.bags.findings import Finding
from molmoact_ros.bags.signals import Signals, Track
from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.reasoning.statistics import ActionStatistics

AXES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw")


@dataclass(frozen=True)
class MotionLimits:
    """saturation: share of rows beyond q01..q99 (by definition about 2 % in the data they come
    from). idle: share of the time at rest. lead_s: rest before the first motion."""

    saturation: float = 0.1
    idle: float = 0.6
    lead_s: float = 5.0
    speed_m_s: float = 0.005
    turn_rad_s: float = 0.02
    finger_m_s: float = 0.005
    finger_range_m: float = 0.01


def check_motion(
    signals: Signals,
    statistics: ActionStatistics | None = None,
    limits: MotionLimits | None = None,
    period: float = 1.0 / 15.0,
) -> list[Finding]:
    """All findings about actions. ``period``: seconds of one action row."""
    limits = limits or MotionLimits()
    found = []
    if statistics is not None:
        track = signals.commanded if not signals.commanded.empty else signals.measured
        found += _saturation(actions(track, period), statistics, limits)
    found += _gripper_sign(signals, limits)
    found += _idle(signals, limits)
    return found


def actions(track: Track, period: float) -> Floats:
    """Deltas [N, 6] in the base frame between poses ``period`` seconds apart."""
    if len(track.times) < 2:
        return np.zeros((0, 6))
    grid = np.arange(track.times[0], track.times[-1], period)
    index = np.clip(np.searchsorted(track.times, grid), 0, len(track.times) - 1)
    poses = [Pose(track.values[i, :3], track.values[i, 3:]) for i in index]
    rows = [a.delta_to(b) for a, b in zip(poses[:-1], poses[1:], strict=True)]
    return np.array(rows).reshape(-1, 6)


def _saturation(rows: Floats, statistics: ActionStatistics, limits: MotionLimits) -> list[Finding]:
    if len(rows) < 10 or statistics.dims < 6:
        return []
    slack = 1e-3 * (statistics.q99[:6] - statistics.q01[:6])
    outside = (rows < statistics.q01[:6] - slack) | (rows > statistics.q99[:6] + slack)
    share = outside.mean(axis=0)
    worst = int(np.argmax(share))
    if share[worst] <= limits.saturation:
        return []
    return [
        Finding(
            "saturation",
            min(1.0, float(share[worst]) * 2.0),
            f"{share[worst]:.0%} of the {AXES[worst]} steps lie outside the bins "
            f"({statistics.q01[worst]:.4f}..{statistics.q99[worst]:.4f}): move slower, or compute "
            "statistics from these episodes",
        )
    ]


def _gripper_sign(signals: Signals, limits: MotionLimits) -> list[Finding]:
    """After a command to close, the fingers must come together, not part."""
    command, width = signals.gripper, signals.fingers
    if len(command.times) < 2 or len(width.times) < 20:
        return []
    if np.ptp(width.values) < limits.finger_range_m or np.ptp(command.values) < 0.5:
        return []
    agree, against = 0.0, 0.0
    closed = command.values[:, 0] < 0.5
    changes = np.flatnonzero(np.diff(closed.astype(int))) + 1
    for position, index in enumerate(changes):
        begin = command.times[index]
        last = position + 1 == len(changes)
        end = min(begin + 1.5, width.times[-1] if last else command.times[changes[position + 1]])
        moved = _value(width, end) - _value(width, begin)
        wanted = -1.0 if closed[index] else 1.0
        if abs(moved) > limits.finger_range_m / 3.0:
            agree += max(0.0, moved * wanted)
            against += max(0.0, -moved * wanted)
    if against <= agree:
        return []
    return [
        Finding(
            "gripper",
            1.0,
            f"the fingers open when told to close ({against * 1e3:.0f} mm against, "
            f"{agree * 1e3:.0f} mm as told): the command must be 1 = open, 0 = closed",
            "/gripper_command",
        )
    ]


def _value(track: Track, time: float) -> float:
    return float(np.interp(time, track.times, track.values[:, 0]))


def _idle(signals: Signals, limits: MotionLimits) -> list[Finding]:
    track = signals.measured
    if len(track.times) < 20 or track.times[-1] - track.times[0] < 1.0:
        return []
    grid = np.arange(track.times[0], track.times[-1], 0.1)
    index = np.clip(np.searchsorted(track.times, grid), 0, len(track.times) - 1)
    values = track.values[index]
    speed = np.linalg.norm(np.diff(values[:, :3], axis=0), axis=1) / 0.1
    cosine = np.abs(np.sum(values[1:, 3:] * values[:-1, 3:], axis=1)).clip(0.0, 1.0)
    moving = (speed > limits.speed_m_s) | (2.0 * np.arccos(cosine) / 0.1 > limits.turn_rad_s)
    if len(signals.fingers.times) > 1:
        width = np.interp(grid, signals.fingers.times, signals.fingers.values[:, 0])
        moving |= np.abs(np.diff(width)) / 0.1 > limits.finger_m_s
    share = 1.0 - float(moving.mean())
    lead = float(np.argmax(moving)) * 0.1 if moving.any() else float(grid[-1] - grid[0])
    if share > limits.idle:
        return [
            Finding(
                "idle",
                min(1.0, share),
                f"the arm rests {share:.0%} of the episode: start later, stop earlier, or the "
                "policy learns to wait",
            )
        ]
    if lead > limits.lead_s:
        return [
            Finding(
                "idle",
                min(1.0, 0.2 + lead / 20.0),
                f"the arm rests for the first {lead:.1f} s: cut them off",
            )
        ]
    return []
