"""The stack's colours: one meaning, one colour, on every screen.

Model cyan, human orange, executed white. RGB in 0..255 like every picture here.
The neutrals are those of the steering page (web/static/style.css), so that a film
frame and the page read as one design.
"""

from __future__ import annotations

from typing import NamedTuple


class Colour(NamedTuple):
    """An sRGB colour, each channel 0..255."""

    red: int
    green: int
    blue: int

    def rgba(self, alpha: float = 1.0) -> tuple[float, float, float, float]:
        """Channels in 0..1 with ``alpha``, as std_msgs/ColorRGBA wants them."""
        return (self.red / 255.0, self.green / 255.0, self.blue / 255.0, alpha)

    def mixed(self, other: Colour, fraction: float) -> Colour:
        """Linear in sRGB: this colour at 0, ``other`` at 1. Raises ValueError outside 0..1."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction is {fraction}, expected 0..1; clip it before mixing")
        return Colour(
            *(round(a + (b - a) * fraction) for a, b in zip(self, other, strict=True)),
        )


MODEL = Colour(34, 211, 238)
HUMAN = Colour(255, 149, 51)
EXECUTED = Colour(255, 255, 255)

# The worm of a chunk carries the gripper: open stays in the model's hue, closed leaves it.
GRIPPER_OPEN = MODEL
GRIPPER_CLOSED = Colour(129, 140, 248)

WORKSPACE = Colour(148, 163, 184)
CLAMPED = Colour(239, 68, 68)
GOOD = Colour(52, 211, 153)
WARNING = Colour(250, 204, 21)
STOP = Colour(229, 52, 61)

BACKGROUND = Colour(11, 14, 19)
SURFACE = Colour(20, 25, 33)
LINE = Colour(42, 50, 62)
TEXT = Colour(234, 239, 245)
MUTED = Colour(140, 152, 168)
