"""Arms by name; franky is imported only when it is used."""

from __future__ import annotations

from molmoact_ros.robot.base import Arm

KINDS = ("franky", "fake")
REALTIME = ("enforce", "ignore")


def make_arm(kind: str, host: str, realtime: str) -> Arm:
    """An arm that is not connected yet.

    realtime: "enforce" wants a real-time kernel, as libfranka recommends; "ignore" runs without.
    Raises ValueError for an unknown word, ArmError when franky is not installed.
    """
    if realtime not in REALTIME:
        raise ValueError(f"realtime '{realtime}': choose one of {', '.join(REALTIME)}")
    if kind == "franky":
        from molmoact_ros.robot.franky_arm import FrankyArm
        from molmoact_ros.robot.franky_link import FrankyConfig

        return FrankyArm(FrankyConfig(host=host, realtime=realtime))
    if kind == "fake":
        from molmoact_ros.robot.fake_arm import FakeArm

        return FakeArm()
    raise ValueError(f"arm '{kind}': choose one of {', '.join(KINDS)}")
