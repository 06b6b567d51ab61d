"""Text for a terminal: progress bars, colours where there are any, numbers in columns."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from molmoact_ros.viz.colours import Colour

_BAR = 28
_EVERY_S = 0.1


class Terminal:
    """Writes to ``stream``; plain text unless it is a colour terminal (and NO_COLOR is unset)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        dumb = os.environ.get("TERM") == "dumb" or "NO_COLOR" in os.environ
        self.live = self._stream.isatty()
        self.coloured = self.live and not dumb

    def line(self, text: str = "") -> None:
        """One line, visible at once."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def heading(self, text: str) -> None:
        """A line that stands out."""
        self.line()
        self.line(f"\x1b[1m{text}\x1b[0m" if self.coloured else text)

    def tinted(self, text: str, ground: Colour) -> str:
        """``text`` on a coloured ground, with ink that is readable on it."""
        if not self.coloured:
            return text
        light = 0.3 * ground.red + 0.59 * ground.green + 0.11 * ground.blue > 120
        ink = "0;0;0" if light else "255;255;255"
        where = f"{ground.red};{ground.green};{ground.blue}"
        return f"\x1b[38;2;{ink};48;2;{where}m{text}\x1b[0m"

    def progress(self, label: str) -> Callable[[int, int], None]:
        """A bar that is called with the bytes done and the bytes in all.

        Where nobody watches it writes one line at the end.
        """
        began, last = time.monotonic(), 0.0

        def show(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            finished = done >= total
            if not finished and (not self.live or now - last < _EVERY_S):
                return
            last = now
            share = done / total if total else 1.0
            full = round(share * _BAR)
            words = f"{label} {'█' * full}{'░' * (_BAR - full)} {done / 1e9:6.2f} GB"
            words += f"  {now - began:5.1f} s" if finished else f"  {100 * share:3.0f} %"
            self._stream.write(("\r" if self.live else "") + words + ("\n" if finished else ""))
            self._stream.flush()

        return show


def columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells side by side, each right-aligned in its width."""
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
