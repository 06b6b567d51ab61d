"""One episode of a data set driven again by the simulated FR3, from its recorded first pose.

Kinematics show frames and signs; the arm shows what a robot makes of the rows: whether it can
follow them, and where its tool ends up. Nothing weighs, rubs or touches: the recorded table stood
elsewhere, and the joints' friction alone would cost the soft controller a degree.
"""

from __future__ import annotations

import mujoco
import numpy as np

from molmoact_ros.data.card import DataCard
from molmoact_ros.data.replay import (
    LAG_STEP,
    LONGEST_LAG,
    Error,
    Recorded,
    decoded_actions,
    replayed,
)
from molmoact_ros.data.rows import EpisodeRows
from molmoact_ros.evals.offline_robot import ROW_S, OfflineRobot
from molmoact_ros.geometry import Floats, Pose, interpolate
from molmoact_ros.reasoning.statistics import ActionStatistics
from molmoact_ros.sim.layout import scene_spec
from molmoact_ros.sim.reach import reach

LONGEST = 400
"""Ticks that are driven of a long episode: about 10 s of one core."""
_NEAR_M, _NEAR_RAD = 0.004, 0.03
_PLACES = 6


class OutOfReach(ValueError):
    """The recorded poses are none of an FR3's; says which."""


def sim_error(rows: EpisodeRows, statistics: ActionStatistics, card: DataCard, lag: float) -> Error:
    """Largest distance of the simulated tool from the recorded one over the episode.

    lag: seconds by which the recorded arm follows its commands. The simulated arm moves and turns
    after them by other times, so a shift between both arms is allowed for either. Raises
    OutOfReach.
    """
    recorded = Recorded.of(rows)
    lag = min(lag, float(rows.timestamps[-1]) / 2)
    count = min(len(rows), LONGEST)
    actions = decoded_actions(rows, statistics)[:count]
    first = recorded.pose(lag)
    poses = [first, *replayed(first, actions, card.delta_frame)]
    times, rows_15hz = robot_rows(rows.timestamps[:count], poses, actions[:, 6], card)
    robot = OfflineRobot(scene_spec(0))
    robot.model.opt.gravity[:] = 0.0
    robot.model.dof_frictionloss[:] = 0.0
    robot.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    _place(robot, recorded, first)
    reached = [robot.tcp]
    for row in rows_15hz:
        robot.row(row)
        reached.append(robot.tcp)
    longest = LONGEST_LAG / card.fps
    shifts = np.arange(-longest, longest + 1e-9, LAG_STEP / card.fps)
    fits = [recorded.error(reached, times, float(shift)) for shift in shifts]
    return Error(min(fit.metres for fit in fits), min(fit.radians for fit in fits))


def robot_rows(
    ticks: Floats, poses: list[Pose], grips: Floats, card: DataCard
) -> tuple[Floats, Floats]:
    """Times [N + 1] and rows [N, 7] of 1/15 s, the simulated robot's own clock.

    poses [T + 1], grips [T]: of commands that begin at ``ticks`` [T] (seconds) and take 1 / fps
    each. Where idle ticks were left out the command rests.
    """
    tick_s = 1.0 / card.fps
    ends: Floats = np.maximum.accumulate(np.stack([ticks, ticks + tick_s], axis=1).reshape(-1))
    whole = [poses[0], *(pose for pose in poses[1:-1] for _ in range(2)), poses[-1]]
    times = np.arange(0.0, ends[-1] + 1e-9, ROW_S)
    places = np.clip(np.searchsorted(ends, times, side="right") - 1, 0, len(ends) - 2)
    path = []
    for time, place in zip(times, places, strict=True):
        span = ends[place + 1] - ends[place]
        share = min(max((time - ends[place]) / span, 0.0), 1.0) if span > 1e-9 else 1.0
        path.append(interpolate(whole[place], whole[place + 1], float(share)))
    deltas = np.stack([a.delta_to(b) for a, b in zip(path[:-1], path[1:], strict=True)])
    held = np.clip(np.searchsorted(ticks, times[:-1] + 1e-6, side="right") - 1, 0, None)
    return times, np.concatenate([deltas, grips[held, None]], axis=1)


def _place(robot: OfflineRobot, recorded: Recorded, first: Pose) -> None:
    """The arm in the first pose; the others are tried before."""
    for time in np.linspace(recorded.times[-1], 0.0, _PLACES):
        _reach(robot, recorded.pose(float(time)))
    _reach(robot, first)
    robot.data.qvel[:] = 0.0
    mujoco.mj_forward(robot.model, robot.data)
    robot.command = first


def _reach(robot: OfflineRobot, pose: Pose) -> None:
    reach(robot.model, robot.data, robot.data.qpos[:7].copy(), pose, steps=200)
    found = robot.tcp
    near = np.linalg.norm(found.position - pose.position) < _NEAR_M
    if not near or found.angle_to(pose) > _NEAR_RAD:
        x, y, z = map(float, pose.position)
        raise OutOfReach(f"an FR3 cannot reach the recorded pose at {x:.2f} {y:.2f} {z:.2f} m")
