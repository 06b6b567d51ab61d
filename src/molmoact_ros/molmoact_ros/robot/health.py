"""The robot's own word about itself: its latest state, errors and mode, and how to clear them."""

from __future__ import annotations

import time
from typing import Any

from molmoact_ros.robot import franky_link as link
from molmoact_ros.robot.faults import Fault, classify

CLEAR_TRIES, CLEAR_WAIT_S = 50, 0.01


class Health:
    """Of one franky.Robot. Its methods raise what franky raises (franky_link.ERRORS)."""

    def __init__(self, robot: Any) -> None:
        self._robot = robot
        self.raw: Any = robot.state

    def refresh(self) -> Any:
        """Read the state anew; while moving that is a copy, at rest one network packet."""
        self.raw = self._robot.state
        return self.raw

    @property
    def errors(self) -> tuple[str, ...]:
        return link.error_names(self.raw.current_errors)

    @property
    def user_stopped(self) -> bool:
        return bool(self.raw.robot_mode.name == "UserStopped")

    def fault(self, text: str = "") -> Fault:
        """The fault behind ``text`` and what the robot reports."""
        return classify(text, self.errors, self.raw.robot_mode.name)

    def clear(self) -> bool:
        """Ask the robot to clear its errors; whether it did.

        franky's own answer is about a state read before the robot has acted, so it is not used.
        """
        self._robot.recover_from_errors()
        for _ in range(CLEAR_TRIES):
            self.refresh()
            if not self.errors and self.raw.robot_mode.name != "Reflex":
                return True
            time.sleep(CLEAR_WAIT_S)
        return False
