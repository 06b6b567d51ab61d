"""The seam between commands and an arm."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from molmoact_ros.control.kinematics import dexterity
from molmoact_ros.geometry import Floats, Pose


class ArmError(RuntimeError):
    """The arm could not do what was asked; the text says what to do about it."""


@dataclass(frozen=True)
class ArmState:
    """One reading of the arm.

    stamp: seconds of the arm's ``clock`` (wall time unless injected).
    q, dq: joint positions and velocities [7], rad and rad/s.
    ee: fr3_hand_tcp in fr3_link0. wrench: external force and torque [6] in the base frame, N, Nm.
    gripper_width: metres between the fingers. gripper_moving: a gripper command is being done.
    gripper_holding: the last grasp ended with something between the fingers.
    mode: disconnected, idle, tracking, holding, homing, retreating, stopping, fault, user_stopped.
    errors: the robot's own error names. detail: words for a person, what to do; "" when well.
    success_rate: fraction of the last 100 control commands that arrived in time, 0..1.
    recoveries: automatic recoveries since the start; recovered: the same by family of fault.
    faults: faults since the start by family.
    ready: follows references (connected, armed, no fault).
    """

    stamp: float
    connected: bool = False
    armed: bool = False
    mode: str = "disconnected"
    errors: tuple[str, ...] = ()
    detail: str = ""
    success_rate: float = 0.0
    recoveries: int = 0
    recovered: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    q: Floats = field(default_factory=lambda: np.zeros(7))
    dq: Floats = field(default_factory=lambda: np.zeros(7))
    ee: Pose = field(default_factory=lambda: Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])))
    wrench: Floats = field(default_factory=lambda: np.zeros(6))
    gripper_width: float = 0.0
    gripper_moving: bool = False
    gripper_holding: bool = False

    @property
    def dexterity(self) -> float:
        """Smallest singular value of the tool's Jacobian, SI units; near 0 is near singular."""
        return dexterity(self.q)

    @property
    def ready(self) -> bool:
        return self.connected and self.armed and self.mode in ("tracking", "holding")


class Arm(Protocol):
    """Call order: ``start``, then anything from any thread, ``close`` at the end.

    No call blocks on the robot: what takes time returns a Future whose result is a sentence for
    a person and whose exception is an ArmError. ``stop`` wins against everything waiting.
    """

    def start(self) -> None:
        """Begin to connect, and to connect again after every loss. Returns at once."""
        ...

    def close(self) -> None:
        """Bring the arm to rest and let go of the connection."""
        ...

    def state(self) -> ArmState:
        """The latest reading, without waiting. ``connected`` False: q and ee mean nothing."""
        ...

    def set_reference(self, pose: Pose, twist: Floats | None = None) -> str:
        """Follow ``pose`` (fr3_hand_tcp in fr3_link0), moving with ``twist`` [6].

        Send 15..200 a second; when they stop coming the arm holds and then disarms. Returns ""
        or the sentence that says why this one is not followed.
        """
        ...

    def set_gripper(self, opening: float) -> None:
        """1 = open, 0 = closed; hysteresis and dwell are the arm's business."""
        ...

    def arm(self) -> Future[str]:
        """Start to follow references, from where the arm is."""
        ...

    def disarm(self) -> Future[str]:
        """Come to rest and follow no more references."""
        ...

    def stop(self) -> Future[str]:
        """Like ``disarm``, and cancels homing and automatic recovery."""
        ...

    def recover(self) -> Future[str]:
        """Clear a fault after a person has looked; the arm is disarmed afterwards."""
        ...

    def home(self) -> Future[str]:
        """Move the joints slowly to the home position; needs no ``arm``."""
        ...

    def retreat(self) -> Future[str]:
        """Move the tool slowly straight up, away from what it touched; needs no ``arm``."""
        ...


def resolve(future: Future[str], text: str) -> None:
    """Answer a request unless nobody waits for it any more."""
    if future.set_running_or_notify_cancel():
        future.set_result(text)


def refuse(future: Future[str], text: str) -> None:
    """Refuse a request unless nobody waits for it any more."""
    if future.set_running_or_notify_cancel():
        future.set_exception(ArmError(text))
