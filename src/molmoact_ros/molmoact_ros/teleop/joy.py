"""Gamepads and the browser page: axes and buttons of sensor_msgs/Joy to a hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmoact_ros.teleop.hand import BadDevice, Hand


@dataclass(frozen=True)
class Layout:
    """Which axis moves what: for forward, left, up, roll, pitch, yaw a tuple of (axis, sign).

    Two entries add up: a trigger for up and one for down. A trigger rests at 1 and ends at -1 in
    ROS's joy; ``triggers`` names those axes, they count 0..1 here. -1 for a button: none.
    """

    name: str
    axes: tuple[tuple[tuple[int, float], ...], ...]
    dead_man: int
    toggle: int = -1
    open: int = -1
    close: int = -1
    hand_back: int = -1
    triggers: frozenset[int] = frozenset()


LAYOUTS = {
    layout.name: layout
    for layout in (
        # joy_node with an Xbox or compatible pad: hold the left bumper, left stick moves in the
        # plane, triggers go up (right) and down (left), right stick turns; A toggles the gripper.
        Layout(
            "xbox",
            (((1, 1.0),), ((0, 1.0),), ((5, 1.0), (2, -1.0)), (), ((4, 1.0),), ((3, 1.0),)),
            dead_man=4,
            toggle=0,
            hand_back=7,
            triggers=frozenset({2, 5}),
        ),
        # joy_node with a DualShock 4 or DualSense, hid-playstation driver: L1 is the switch.
        Layout(
            "playstation",
            (((1, 1.0),), ((0, 1.0),), ((5, 1.0), (2, -1.0)), (), ((4, 1.0),), ((3, 1.0),)),
            dead_man=4,
            toggle=0,
            hand_back=9,
            triggers=frozenset({2, 5}),
        ),
        # spacenav_node: x forward, y left, z up already; the left button is the switch.
        Layout(
            "spacenav",
            tuple(((i, 1.0),) for i in range(6)),
            dead_man=0,
            toggle=1,
        ),
        # The page, and whoever writes a device of their own: six axes in order, plain buttons.
        Layout(
            "plain",
            tuple(((i, 1.0),) for i in range(6)),
            dead_man=0,
            open=1,
            close=2,
            hand_back=3,
        ),
    )
}


class JoyReader:
    """A stateful reader: a trigger says 0 until it was touched once, and 0 would mean half way."""

    def __init__(self, layout: str) -> None:
        if layout not in LAYOUTS:
            raise BadDevice(f"layout '{layout}': choose one of {', '.join(LAYOUTS)}")
        self._layout = LAYOUTS[layout]
        self._touched: set[int] = set()

    def hand(self, axes: Sequence[float], buttons: Sequence[int]) -> Hand:
        """Raises BadDevice when the device has fewer axes or no dead-man button."""
        layout = self._layout
        wanted = max(index for row in layout.axes for index, _ in row)
        if len(axes) <= wanted or len(buttons) <= layout.dead_man:
            raise BadDevice(
                f"the device has {len(axes)} axes and {len(buttons)} buttons; layout "
                f"'{layout.name}' needs axis {wanted} and button {layout.dead_man}: choose one of "
                f"{', '.join(LAYOUTS)}"
            )
        values = [sum(sign * self._axis(axes, index) for index, sign in row) for row in layout.axes]

        def pressed(index: int) -> bool:
            return 0 <= index < len(buttons) and bool(buttons[index])

        return Hand(
            np.array(values, dtype=np.float64),
            dead_man=pressed(layout.dead_man),
            toggle=pressed(layout.toggle),
            open=pressed(layout.open),
            close=pressed(layout.close),
            hand_back=pressed(layout.hand_back),
        )

    def _axis(self, axes: Sequence[float], index: int) -> float:
        value = float(axes[index])
        if index not in self._layout.triggers:
            return value
        if value != 0.0:
            self._touched.add(index)
        return (1.0 - value) / 2.0 if index in self._touched else 0.0
