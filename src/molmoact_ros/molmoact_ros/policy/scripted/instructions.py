"""From words to a goal: the same reading of instructions as the simulator's scorer."""

from __future__ import annotations

from molmoact_ros.policy.base import PolicyError
from molmoact_ros.policy.scripted.goals import Goal
from molmoact_ros.sim.tasks import InstructionError, understand


def goal_from_instruction(text: str) -> Goal:
    """The goal a sentence asks for.

    Raises PolicyError, saying what can be asked, for anything else.
    """
    try:
        task = understand(text)
    except InstructionError as error:
        raise PolicyError(str(error)) from error
    return Goal(task.family, task.cube, task.target or "")
