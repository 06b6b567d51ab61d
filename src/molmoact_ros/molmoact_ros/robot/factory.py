"""Arms by name; franky is imported only when it is used."""

from __future__ import annotations

import time
from collections.abc import Callable

from molmoact_ros.control.limits import Limits
from molmoact_ros.robot.base import Arm, ArmError
from molmoact_ros.robot.config import FrankyConfig

KINDS = ("franky", "fake")


def make_arm(
    kind: str,
    config: FrankyConfig,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> Arm:
    """An arm that is not connected yet; its states are stamped with ``clock``.

    Raises ValueError for an unknown word, ArmError when franky is not installed.
    """
    if kind == "franky":
        try:
            from molmoact_ros.robot.franky_arm import FrankyArm
        except ImportError as error:
            raise ArmError(
                f"franky cannot be imported ({error}); pip install -r requirements/robot.txt, "
                f"or start with arm:=fake. {config.robot.wheel_hint}"
            ) from error
        return FrankyArm(config, limits, clock)
    if kind == "fake":
        from molmoact_ros.robot.fake_arm import FakeArm

        return FakeArm(limits, clock)
    raise ValueError(f"arm '{kind}': choose one of {', '.join(KINDS)}")
