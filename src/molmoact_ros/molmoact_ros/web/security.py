"""Who may talk to the page. The page moves a robot, so the answer is "nobody" by default.

Three doors: the address it binds (loopback unless a token is set), the Host header (a
hostile site that points its own name at 127.0.0.1, "DNS rebinding", is not one of ours),
and the Origin header (another site's script in the same browser).
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable
from urllib.parse import urlsplit

MIN_TOKEN = 16
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


class BindRefusedError(ValueError):
    """The server would be reachable by others without a secret."""


def is_loopback(address: str | None) -> bool:
    """Whether an IP address (or "localhost") stays on this machine."""
    if address == "localhost":
        return True
    try:
        found = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def check_bind(host: str, token: str) -> None:
    """Raises BindRefusedError unless ``host`` is loopback or ``token`` is long enough."""
    if token and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
        raise BindRefusedError(
            f"the token has {len(token)} characters; use at least {MIN_TOKEN} ordinary ones, "
            "for example from: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    if not is_loopback(host) and not token:
        raise BindRefusedError(
            f"host {host or '(all)'} lets other machines move the robot, and no token is set; "
            "use host 127.0.0.1, or set a token of at least 16 characters"
        )


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


def token_matches(given: str | None, token: str) -> bool:
    """Compared in constant time; no token set: everything matches."""
    if not token:
        return True
    # "replace": a header may hold bytes that are not text, and they must not raise here.
    return given is not None and hmac.compare_digest(
        given.encode("utf-8", "replace"), token.encode("utf-8", "replace")
    )


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
