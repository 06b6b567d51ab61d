"""Faults of an FR3 and the commands that meet them, with the answers a real robot gives.

franky-sim 1.0.4 accepts every motion, recovers from everything and ignores collision
thresholds. These commands take the place of its own (``ARM_COMMANDS``).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    AutomaticErrorRecoveryStatus,
    MoveCommand,
    MoveStatus,
    RobotCommand,
    SetCollisionBehaviorCommand,
)

from molmoact_ros.geometry import Floats


class Fault(enum.Enum):
    """Why the arm refuses to move."""

    REFLEX = "reflex"
    USER_STOP = "user_stop"
    MANUAL = "manual"


class RobotError(enum.IntEnum):
    """Positions in libfranka's error vector (include/franka/errors.h)."""

    JOINT_POSITION_LIMITS_VIOLATION = 0
    JOINT_REFLEX = 6
    CARTESIAN_REFLEX = 7
    COMMUNICATION_CONSTRAINTS_VIOLATION = 25


ABORT_STATUS = {
    Fault.REFLEX: MoveStatus.kReflexAborted,
    Fault.USER_STOP: MoveStatus.kPreemptedDueToActivatedSafetyFunctions,
    Fault.MANUAL: MoveStatus.kReflexAborted,
}
_MOVE_REFUSAL = {
    Fault.REFLEX: MoveStatus.kCommandNotPossibleRejected,
    Fault.USER_STOP: MoveStatus.kCommandRejectedDueToActivatedSafetyFunctions,
    Fault.MANUAL: MoveStatus.kCommandNotPossibleRejected,
}
_RECOVERY_ANSWER = {
    None: AutomaticErrorRecoveryStatus.kSuccess,
    Fault.REFLEX: AutomaticErrorRecoveryStatus.kSuccess,
    Fault.USER_STOP: AutomaticErrorRecoveryStatus.kCommandRejectedDueToActivatedSafetyFunctions,
    Fault.MANUAL: AutomaticErrorRecoveryStatus.kManualErrorRecoveryRequiredRejected,
}


@dataclass(frozen=True)
class CollisionThresholds:
    """Contact (lower) and collision (upper) levels: torques [7] Nm, wrench [6] N and Nm."""

    lower_torques: Floats
    upper_torques: Floats
    lower_wrench: Floats
    upper_wrench: Floats


class FaultyArm(Protocol):
    """What the commands need of the arm server."""

    fault: Fault | None
    thresholds: CollisionThresholds | None

    def motion_started(self) -> None: ...

    def clear(self) -> None: ...

    def send_state(self) -> None: ...


class Move(MoveCommand):  # type: ignore[misc]
    def handle(self, server: FaultyArm) -> None:
        if server.fault is not None:
            self.reply(_MOVE_REFUSAL[server.fault])
            return
        server.motion_started()
        super().handle(server)


class Recovery(AutomaticErrorRecoveryCommand):  # type: ignore[misc]
    def handle(self, server: FaultyArm) -> None:
        answer = _RECOVERY_ANSWER[server.fault]
        if answer is AutomaticErrorRecoveryStatus.kSuccess:
            server.clear()
            # A client that has its answer looks at the newest state it holds.
            server.send_state()
        self.reply(answer)


class CollisionBehavior(SetCollisionBehaviorCommand):  # type: ignore[misc]
    def handle(self, server: FaultyArm) -> None:
        # The robot has a second set for acceleration phases; franky sends both alike.
        levels: list[Sequence[float]] = [
            self.lower_torque_thresholds_nominal,
            self.upper_torque_thresholds_nominal,
            self.lower_force_thresholds_nominal,
            self.upper_force_thresholds_nominal,
        ]
        server.thresholds = CollisionThresholds(*(np.array(level) for level in levels))
        self.reply(0)


ARM_COMMANDS = {
    RobotCommand.kMove: Move,
    RobotCommand.kAutomaticErrorRecovery: Recovery,
    RobotCommand.kSetCollisionBehavior: CollisionBehavior,
}
