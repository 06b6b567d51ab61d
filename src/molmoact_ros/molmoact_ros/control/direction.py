"""The direction test: one small step along each axis, confirmed by a person, before any policy.

A mirrored axis, a wrong frame or swapped gripper signs look harmless in every message and drive an
arm into the table. The steps go the way of the policy's own chunks. Pure: the caller moves the
arm, measures it and asks the person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from molmoact_ros.geometry import Floats, Pose

DIRECTION_GOAL = "direction-test"
"""Goal ids of the test's chunks start so; the commander lets them pass without a record."""
ROWS = 15
_STEP_M, _STEP_RAD = 0.03, 0.15
_LEAST, _MOST = 0.6, 1.4
_STRAIGHT = 0.9


@dataclass(frozen=True)
class Step:
    """delta [6] (dx dy dz droll dpitch dyaw, base frame) or gripper (1 open, 0 closed), and what
    the person should see."""

    name: str
    question: str
    delta: tuple[float, ...] = (0.0,) * 6
    gripper: float | None = None

    def rows(self, gripper: float, sign: float = 1.0) -> Floats:
        """The chunk [15, 7] that does this step; ``sign`` -1: back again."""
        out = np.zeros((ROWS, 7))
        out[:, :6] = sign * np.asarray(self.delta) / ROWS
        out[:, 6] = gripper if self.gripper is None else self.gripper
        return out

    def disagreement(self, before: Pose, after: Pose) -> str:
        """What the measured poses say against this step; "" when they agree."""
        wanted, moved = np.asarray(self.delta), before.delta_to(after)
        for part, unit in ((slice(0, 3), "m"), (slice(3, 6), "rad")):
            length = float(np.linalg.norm(wanted[part]))
            if length == 0.0:
                continue
            found = float(np.linalg.norm(moved[part]))
            along = float(wanted[part] @ moved[part]) / max(length * found, 1e-9)
            if not _LEAST * length <= found <= _MOST * length or along < _STRAIGHT:
                return (
                    f"{self.name}: the arm reports {np.round(moved[part], 3).tolist()} {unit} "
                    f"instead of {np.round(wanted[part], 3).tolist()}; check base_frame, the end "
                    "effector set in Desk, and that nothing holds the arm"
                )
        return ""


def _along(axis: int, size: float) -> tuple[float, ...]:
    return tuple(size if i == axis else 0.0 for i in range(6))


STEPS = (
    Step("x", "did the hand move 3 cm forward, away from the robot's base?", _along(0, _STEP_M)),
    Step(
        "y",
        "did it move 3 cm to the robot's left (your right, if you face it)?",
        _along(1, _STEP_M),
    ),
    Step("z", "did it move 3 cm up?", _along(2, _STEP_M)),
    Step(
        "roll",
        "did the hand tilt, so that its fingers point more to the robot's right?",
        _along(3, -_STEP_RAD),
    ),
    Step(
        "pitch",
        "did the hand tilt, so that its fingers point more back to the robot's base?",
        _along(4, _STEP_RAD),
    ),
    Step("yaw", "seen from above, did it turn against the clock?", _along(5, _STEP_RAD)),
    Step("close", "did the fingers close?", gripper=0.0),
    Step("open", "did the fingers open?", gripper=1.0),
)


@dataclass
class DirectionTest:
    """What was confirmed so far, in order. ``failure`` is final."""

    answers: dict[str, str] = field(default_factory=dict)
    failure: str = ""

    @property
    def step(self) -> Step | None:
        """The step to do next; None when all are done or one failed."""
        return None if self.failure else next(self._left(), None)

    @property
    def passed(self) -> bool:
        return not self.failure and next(self._left(), None) is None

    def confirm(self, seen: bool, disagreement: str = "") -> str:
        """The person's answer about the current step; returns what follows from it."""
        step = self.step
        if step is None:
            return self.failure or "all steps are done"
        if disagreement or not seen:
            self.failure = disagreement or (
                f"{step.name}: the person saw something else; do not run a policy, check the "
                "mounting of the base, base_frame and the end effector set in Desk"
            )
            return self.failure
        self.answers[step.name] = "confirmed"
        return "passed" if self.passed else ""

    def record(self, when: str, frame: str) -> Mapping[str, object]:
        """What is kept in the file that lets the policy move."""
        return {
            "test": DIRECTION_GOAL,
            "passed": self.passed,
            "when": when,
            "frame": frame,
            "answers": dict(self.answers),
            "failure": self.failure,
        }

    def _left(self) -> Iterator[Step]:
        return (step for step in STEPS if step.name not in self.answers)


def missing_record(path: Path) -> str:
    """Why the policy may not move yet; "" when ``path`` says that the test was passed."""
    run = f"run: molmoact direction-test --record {path}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return f"no direction test on record; {run}"
    except ValueError:
        return f"the record of the direction test cannot be read; {run}"
    if not isinstance(found, dict) or found.get("passed") is not True:
        return f"the direction test on record was not passed; {run}"
    return ""
