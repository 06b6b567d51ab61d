"""Whether a task was done, by ground truth. For scoring only: no policy may import this.

A goal counts once it has held for half a second without motion, so that a cube rolling over
the plate or bouncing in the hand does not. Metres, seconds, base frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from molmoact_ros.geometry import Pose
from molmoact_ros.sim.objects import (
    BOWL_FLOOR,
    BOWL_HEIGHT,
    BOWL_RADIUS,
    CUBE_SIZE,
    PLATE_FLOOR,
    PLATE_RADIUS,
)
from molmoact_ros.sim.snapshot import Snapshot
from molmoact_ros.sim.tasks import MOVE_NEXT_TO, PICK_UP, PUT_INTO, PUT_ON, Task

HOLD_SECONDS = 0.5
LIFT_HEIGHT = 0.05
NEXT_TO_DISTANCE = 0.08
OPEN_WIDTH = 0.05
AWAY_DISTANCE = 0.06
_STILL = 0.004
_HALF = CUBE_SIZE / 2
_FINGERS = ("robot0_finger_joint1", "robot0_finger_joint2")


@dataclass(frozen=True)
class Truth:
    """One moment of the true world. time: seconds; gripper_width: metres between fingers."""

    time: float
    objects: Mapping[str, Pose]
    tcp: Pose
    gripper_width: float

    @staticmethod
    def of(snapshot: Snapshot) -> Truth:
        """From what the physics process publishes."""
        width = sum(float(snapshot.qpos[snapshot.header.joints[name]]) for name in _FINGERS)
        return Truth(snapshot.sim_time, snapshot.objects, snapshot.tcp, width)


@dataclass(frozen=True)
class Verdict:
    """success, and in words what is fulfilled or what is missing."""

    success: bool
    words: str


class Judge:
    """Collects moments of one episode; success, once reached, stays."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._recent: list[Truth] = []
        self._verdict = Verdict(False, "nothing seen yet")

    @property
    def verdict(self) -> Verdict:
        return self._verdict

    def update(self, truth: Truth) -> Verdict:
        """Add the next moment (times rise; an earlier time starts over)."""
        if self._recent and truth.time < self._recent[-1].time:
            self._recent = []
        self._recent.append(truth)
        while len(self._recent) > 1 and truth.time - self._recent[1].time >= HOLD_SECONDS:
            del self._recent[0]
        if not self._verdict.success:
            self._verdict = verdict(self.task, self._recent)
        return self._verdict


def verdict(task: Task, history: Sequence[Truth]) -> Verdict:
    """Judge the end of a history (oldest first), which must span at least half a second."""
    if not history:
        return Verdict(False, "nothing seen yet")
    missing = what_is_missing(task, history[-1])
    if missing:
        return Verdict(False, missing)
    end = history[-1].time
    window = [truth for truth in history if end - truth.time <= HOLD_SECONDS + 0.1]
    if end - window[0].time < HOLD_SECONDS:
        return Verdict(False, "the goal holds, but not yet for half a second")
    if any(what_is_missing(task, truth) for truth in window):
        return Verdict(False, "the goal holds, but not yet for half a second")
    if task.family != PICK_UP:
        places = np.array([truth.objects[task.cube].position for truth in window])
        if np.ptp(places, axis=0).max() > _STILL:
            return Verdict(False, f"the {_name(task.cube)} still moves")
    return Verdict(True, f"done: {task.instruction()}")


def what_is_missing(task: Task, truth: Truth) -> str:
    """What keeps the goal from holding at one moment, in words; empty when it holds."""
    if task.family == PICK_UP:
        return _missing_lift(task, truth)
    cube, target = truth.objects[task.cube], truth.objects[task.target or ""]
    offset = cube.position - target.position
    apart, height = float(np.linalg.norm(offset[:2])), float(offset[2])
    name, goal = _name(task.cube), _name(task.target or "")
    if task.family == PUT_ON and apart > PLATE_RADIUS - 0.01:
        return f"the {name} is {apart * 100:.1f} cm from the middle of the plate"
    if task.family == PUT_ON and abs(height - PLATE_FLOOR - _HALF) > 0.012:
        return f"the {name} does not lie on the plate"
    if task.family == PUT_INTO and apart > BOWL_RADIUS - 0.01:
        return f"the {name} is {apart * 100:.1f} cm from the middle of the bowl"
    if task.family == PUT_INTO and not BOWL_FLOOR < height < BOWL_HEIGHT:
        return f"the {name} is not down in the bowl"
    if task.family == MOVE_NEXT_TO and apart > NEXT_TO_DISTANCE:
        return f"the {name} is {apart * 100:.1f} cm from the {goal}, 8 cm is close enough"
    if task.family == MOVE_NEXT_TO and not (_on_table(cube) and _on_table(target)):
        return f"the {name} and the {goal} do not both stand on the table"
    if not released(truth, task.cube):
        return f"the hand still holds the {name}"
    return ""


def released(truth: Truth, cube: str) -> bool:
    """Fingers wider than the cube, or far from it."""
    away = np.linalg.norm(truth.tcp.position - truth.objects[cube].position) > AWAY_DISTANCE
    return bool(away) or truth.gripper_width > OPEN_WIDTH


def clearance(cube: Pose) -> float:
    """Height in metres of a cube's lowest corner above the table."""
    tilt = np.abs(cube.rotation.as_matrix()[2]).sum()
    return float(cube.position[2] - _HALF * tilt)


def _missing_lift(task: Task, truth: Truth) -> str:
    lifted = clearance(truth.objects[task.cube])
    if lifted < LIFT_HEIGHT:
        return f"the {_name(task.cube)} is {max(lifted, 0) * 100:.1f} cm above the table, not 5"
    if released(truth, task.cube):
        return f"the hand does not hold the {_name(task.cube)}"
    return ""


def _on_table(cube: Pose) -> bool:
    # A cube leaning on something stands higher than its half edge, but at most 1.7 times.
    return abs(float(cube.position[2]) - _HALF) < 0.008


def _name(body: str) -> str:
    return body.replace("_", " ")
