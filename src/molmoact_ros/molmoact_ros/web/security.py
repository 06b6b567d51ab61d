"""Who may talk to the page. The page moves a robot, so the answer is "nobody" by default.

Three doors: the address it binds (loopback unless a token is set), the Host header (a
hostile site that points its own name at 127.0.0.1, "DNS rebinding", is not one of ours),
and the Origin header (another site's script in the same browser).
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from molmoact_ros.access import (
    MIN_TOKEN,
    BindRefusedError,
    check_bind,
    is_loopback,
    token_matches,
)

__all__ = [
    "COOKIE",
    "HEADERS",
    "MIN_TOKEN",
    "BindRefusedError",
    "TokenBucket",
    "check_bind",
    "host_allowed",
    "is_loopback",
    "origin_allowed",
    "token_matches",
]

COOKIE = "molmoact_token"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


def host_allowed(header: str, extra: frozenset[str] = frozenset()) -> bool:
    """Whether a Host header names us: an IP literal, localhost, or a name in ``extra``.

    An IP literal is safe from DNS rebinding, since no name was looked up.
    """
    try:
        name = urlsplit(f"//{header}").hostname
    except ValueError:
        return False
    if not name:
        return False
    if name == "localhost" or name in extra:
        return True
    try:
        ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        return False
    return True


def origin_allowed(origin: str | None, host_header: str) -> bool:
    """Whether a request comes from our own page. None (not a browser) is allowed.

    Browsers always send Origin with a WebSocket handshake (RFC 6455 section 4.1).
    """
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host_header.lower()


class TokenBucket:
    """At most ``burst`` at once and ``rate`` a second on average."""

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._then = burst, clock()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._then) * self._rate)
        self._then = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
