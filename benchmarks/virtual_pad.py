"""A person at a gamepad, scripted: watches the tool and steers it to places over /joy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from arm_bench import ArmBench, pose_of
from sensor_msgs.msg import Joy

from molmoact_ros.geometry import Floats
from molmoact_ros.nodes.runtime import SENSOR_QOS
from molmoact_ros.teleop.shaping import Shaping

SHAPING = Shaping()
OPEN, CLOSE = 1, 2
"""Buttons of the plain layout; 0 is the dead-man switch."""


class Pad:
    """Needs the bench's teleop node with ``layout`` plain."""

    def __init__(self, bench: ArmBench) -> None:
        self.person = bench.person
        self._joy = self.person.create_publisher(Joy, "joy", SENSOR_QOS)

    def send(self, axes: Floats, *buttons: int, dead_man: bool = True, yaw: float = 0.0) -> None:
        pressed = [int(dead_man), *(int(b in buttons) for b in (OPEN, CLOSE, 3))]
        self._joy.publish(Joy(axes=[*map(float, axes), 0.0, 0.0, yaw], buttons=pressed))
        self.person.listen(1 / 30)

    def hold(self, seconds: float, *buttons: int) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send(np.zeros(3), *buttons)

    def go(self, place: Floats, within: float = 0.006, seconds: float = 25.0) -> None:
        """Steer until the measured tool is at ``place``; slower the nearer it is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            error = place - self.person.path[-1].position
            distance = float(np.linalg.norm(error))
            if distance < within:
                self.hold(0.3)
                return
            speed = min(0.9 * SHAPING.speed_m_s, 1.5 * distance)
            share = (speed / SHAPING.speed_m_s) ** (1 / SHAPING.power)
            deflection = SHAPING.dead_zone + (1 - SHAPING.dead_zone) * share
            self.send(error / distance * deflection)
        raise AssertionError(
            f"the tool is still {distance:.3f} m away from {place}: "
            f"{self.person.command.reason}; {self.person.arm.detail}"
        )

    def turn(self, yaw: float, within: float = 0.04, seconds: float = 15.0) -> None:
        """Turn the hand until the tool's yaw, radians, is ``yaw``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            error = yaw - pose_of(self.person.path[-1]).yaw
            if abs(error) < within:
                self.hold(0.3)
                return
            share = min(0.9, 2.0 * abs(error)) ** (1 / SHAPING.power)
            deflection = SHAPING.dead_zone + (1 - SHAPING.dead_zone) * share
            self.send(np.zeros(3), yaw=float(np.copysign(deflection, error)))
        raise AssertionError(f"the hand is still {error:.2f} rad off: {self.person.command.reason}")

    def grip(self, button: int, done: Callable[[], bool]) -> None:
        """Press a gripper button until ``done``, at most ten seconds."""
        self.hold(0.2, button)
        end = time.monotonic() + 10.0
        while not done() and time.monotonic() < end:
            self.hold(0.1)
        self.hold(0.6)
