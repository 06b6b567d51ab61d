"""One page drives, the others watch. STOP needs no seat."""

from __future__ import annotations

import time
from collections.abc import Callable

from molmoact_ros.web.page import PageError

IDLE_S = 20.0
"""After this long without a command the seat may be taken by another page."""

ANYBODY = ("stop", "ping", "drive", "preview", "freeze")
"""Requests that move nothing, or that nobody may be kept from."""


class Seat:
    """Who drives. All methods are called on the server's event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._driver: object | None = None
        self._name = ""
        self._acted = 0.0
        self.version = 1

    @property
    def name(self) -> str:
        """Where the driving page is, in words; "" when nobody drives."""
        return self._name

    def holds(self, page: object) -> bool:
        """Whether this page drives."""
        return self._driver is page

    def enter(self, page: object, name: str) -> None:
        """A page opened: it drives when nobody does."""
        if self._driver is None:
            self._give(page, name)

    def leave(self, page: object) -> None:
        """A page closed or gave the seat up."""
        if self._driver is page:
            self._give(None, "")

    def take(self, page: object, name: str) -> str:
        """Ask for the seat. Returns "" or why it is refused."""
        idle = self._clock() - self._acted
        if self._driver not in (None, page) and idle < IDLE_S:
            return (
                f"the page at {self._name} drives and acted {idle:.0f} s ago; ask its person to "
                f"hand over, or wait until it has been quiet for {IDLE_S:.0f} s"
            )
        self._give(page, name)
        return ""

    def ask(self, page: object, name: str, want: bool) -> str:
        """Drive, or hand over: what to tell the page. Raises PageError when it is refused."""
        if not want:
            self.leave(page)
            return "you are watching now"
        if refused := self.take(page, name):
            raise PageError(refused)
        return "you drive now"

    def may(self, page: object, kind: str) -> str:
        """Whether the page may send a command of this kind: "" or why not. Notes the time."""
        if kind in ANYBODY:
            return ""
        if self._driver is not page:
            other = f"the page at {self._name} drives" if self._name else "nobody drives"
            return f"you are watching: {other}; press Take over to drive (STOP always works)"
        self._acted = self._clock()
        return ""

    def _give(self, page: object | None, name: str) -> None:
        self._driver, self._name, self._acted = page, name, self._clock()
        self.version += 1
