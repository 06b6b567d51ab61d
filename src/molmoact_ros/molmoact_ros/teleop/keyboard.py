"""A terminal's keyboard as a device: whoever keeps a key down has the arm.

A terminal sends no key-up. It repeats a held key some thirty times a second, so a key counts for a
moment only: letting go stops the arm, a single stroke is a nudge.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType

import numpy as np

from molmoact_ros.teleop.hand import AXES, BadDevice, Hand

WINDOW_S = 0.12
"""How long a stroke counts: a little more than three repetitions."""
DEFLECTION = 0.7
KEYS: dict[str, tuple[int, float]] = {
    "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0), "r": (2, 1.0), "f": (2, -1.0),
    "j": (5, 1.0), "l": (5, -1.0), "i": (4, 1.0), "k": (4, -1.0), "u": (3, -1.0), "o": (3, 1.0),
}  # fmt: skip
OPEN, CLOSE, HAND_BACK, QUIT = "e", "q", "p", "\x1b"
HELP = (
    "keep a key down to move: w/s forward, back; a/d left, right; r/f up, down; j/l yaw; "
    "i/k pitch; u/o roll; q close, e open; p gives the arm to the policy; Esc ends"
)


class KeyHand:
    """Strokes to a hand. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._pressed: dict[str, float] = {}

    def feed(self, key: str, now: float) -> None:
        self._pressed[key] = now

    def hand(self, now: float) -> Hand:
        """The hand now: the dead-man switch is held while any moving or gripper key counts."""
        live = {key for key, at in self._pressed.items() if 0.0 <= now - at <= WINDOW_S}
        axes = np.zeros(AXES)
        for key in live & KEYS.keys():
            index, sign = KEYS[key]
            axes[index] += sign * DEFLECTION
        held = bool(live & (KEYS.keys() | {OPEN, CLOSE}))
        return Hand(
            axes,
            dead_man=held,
            open=OPEN in live,
            close=CLOSE in live,
            hand_back=HAND_BACK in live and not held,
        )


class Terminal:
    """Reads single keys from a terminal and gives it back unharmed; a context manager."""

    def __init__(self) -> None:
        if not sys.stdin.isatty():
            raise BadDevice(
                "the keyboard device needs a terminal; start it with: molmoact teleop, "
                "not from a launch file"
            )
        self._descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._descriptor)

    def __enter__(self) -> Terminal:
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def typed(self) -> str:
        """What was typed since the last call, lower case; never blocks."""
        ready, _, _ = select.select([self._descriptor], [], [], 0.0)
        if not ready:
            return ""
        return os.read(self._descriptor, 64).decode(errors="ignore").lower()
