"""Following a path that a person drew: the tool keeps its height and stays under the line.

A drawn line says where the tool shall be seen, not how high. The expert chooses the plane of the
height at which it met the path, so what the camera sees of the tool runs along the line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.policy.scripted.estimate import Hand
from molmoact_ros.policy.scripted.percept import Floats
from molmoact_ros.policy.scripted.rollout import Plan
from molmoact_ros.policy.scripted.tool import euler_of, moved, tool_yaw, turn_to_straight_down
from molmoact_ros.reasoning.polyline import lengths, places

REACH_LOW_M = np.array([0.28, -0.40])
REACH_HIGH_M = np.array([0.72, 0.40])
"""Corners x, y of the part of the table, base frame, within which a path is followed."""

STEP_M = 0.012
SLOW_GAIN = 0.3
REST_M = 0.001
REST_RAD = 0.004
TURN_RAD = 0.05
AHEAD_M = 0.06
"""How far along the path the tool may have come since the last thought."""

OPEN_WIDTH_M = 0.058


class SketchFollower:
    """Remembers how far along the path the tool has come; a new path starts anew."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the path."""
        self._key = b""
        self._height = 0.0
        self._line: Floats = np.zeros((0, 3))
        self._done = 0.0

    def plan(
        self, points: NDArray[np.floating[Any]], camera: Camera, hand: Hand, rows: int
    ) -> Plan:
        """The next ``rows`` rows along ``points`` [L, 2] (0..255 grid), and the way they take."""
        key = np.asarray(points, np.float32).tobytes()
        if key != self._key:
            self._key, self._height = key, float(hand.command.position[2])
            self._line = np.vstack([hand.command.position, lifted(points, camera, self._height)])
            self._done = 0.0
        starts = lengths(self._line)
        self._done = _nearest(self._line, starts, hand.command.position, self._done)
        gripper = 1.0 if hand.width > OPEN_WIDTH_M else 0.0
        command, done, path, out = hand.command, self._done, [hand.measured.position], []
        for _ in range(rows):
            left = starts[-1] - done
            done += min(STEP_M, max(SLOW_GAIN * left, min(left, REST_M)))
            delta = _delta(command, places(self._line, starts, done))
            command = moved(command, delta)
            out.append(np.append(delta, gripper))
            path.append(command.position)
        return Plan(np.array(out), np.array(path))


def lifted(points: NDArray[np.floating[Any]], camera: Camera, height: float) -> Floats:
    """Where the lines of sight through ``points`` [L, 2] meet the plane z = ``height``: [L, 3].

    A line of sight that rises, or leaves the table, ends at the table's edge: the arm goes there
    as far as it can.
    """
    pixels = np.asarray(points, np.float64) / 255.0 * np.array([camera.width, camera.height])
    eye = camera.base_from_optical[:3, 3]
    rays = camera.lift(pixels, np.ones(len(pixels))) - eye
    falls = rays[:, 2] < -1e-6 if eye[2] > height else rays[:, 2] > 1e-6
    far = np.where(falls, (height - eye[2]) / np.where(falls, rays[:, 2], 1.0), 10.0)
    places = eye + rays * np.minimum(far, 10.0)[:, None]
    places[:, :2] = np.clip(places[:, :2], REACH_LOW_M, REACH_HIGH_M)
    places[:, 2] = height
    return np.asarray(places)


def _delta(command: Pose, target: Floats) -> Floats:
    """One row [6]: at most a step towards ``target``, and the tool straightened."""
    move = target - command.position
    length = float(np.linalg.norm(move))
    # A little more than a step, so that a tool beside the line comes back to it.
    move = move * min(1.0, 1.08 * STEP_M / length) if length > 1e-9 else np.zeros(3)
    turn = turn_to_straight_down(command, tool_yaw(command), REST_RAD)
    angle = float(np.linalg.norm(turn))
    if angle > TURN_RAD:
        turn = turn * (TURN_RAD / angle)
    return np.concatenate([move, euler_of(turn)])


def _nearest(line: Floats, starts: Floats, place: Floats, done: float) -> float:
    """How far along the line the point next to ``place`` lies, from ``done`` to a bit ahead.

    Forward only: where a path crosses itself the tool goes on, not back.
    """
    tries = np.linspace(done, min(done + AHEAD_M, float(starts[-1])), 61)
    points = places(line, starts, tries)
    return float(tries[int(np.argmin(np.linalg.norm(points - place, axis=1)))])
