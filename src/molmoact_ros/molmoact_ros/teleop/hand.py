"""What every device says about the hand that holds it: six axes, a dead-man switch, buttons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmoact_ros.geometry import Floats

AXES = 6


class BadDevice(ValueError):
    """A device or message that cannot be used; says what was found and what to change."""


@dataclass(frozen=True)
class Hand:
    """axes [6] in -1..1: forward, left, up as the person sees them, then turns about these three.

    dead_man: the switch is held. toggle, open, close: gripper buttons. hand_back: give the arm to
    the policy. Raises BadDevice for axes that are not six finite numbers; larger ones are clipped.
    """

    axes: Floats
    dead_man: bool = False
    toggle: bool = False
    open: bool = False
    close: bool = False
    hand_back: bool = False

    def __post_init__(self) -> None:
        axes = np.asarray(self.axes, dtype=np.float64)
        if axes.shape != (AXES,) or not np.isfinite(axes).all():
            raise BadDevice(
                f"the device's axes are {axes}; six finite numbers from -1 to 1 are needed: check "
                "the axis numbers of its layout"
            )
        object.__setattr__(self, "axes", np.clip(axes, -1.0, 1.0))

    @staticmethod
    def at_rest() -> Hand:
        return Hand(np.zeros(AXES))
