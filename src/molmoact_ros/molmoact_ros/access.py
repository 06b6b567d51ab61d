"""Who may connect to a server of ours: this machine by default, others with a secret.

Shared by the steering page and the policy server, so that one rule holds for both.
"""

from __future__ import annotations

import hmac
import ipaddress

MIN_TOKEN = 16
"""Characters; 16 of ``secrets.token_urlsafe`` hold 96 bits."""


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


def check_bind(host: str, token: str, risk: str = "move the robot") -> None:
    """Raises BindRefusedError unless ``host`` is loopback or ``token`` is long enough.

    ``risk``: what strangers could do otherwise, for the message.
    """
    if token and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
        raise BindRefusedError(
            f"the token has {len(token)} characters; use at least {MIN_TOKEN} ordinary ones, "
            "for example from: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    if not is_loopback(host) and not token:
        raise BindRefusedError(
            f"host {host or '(all)'} lets other machines {risk}, and no token is set; "
            "use host 127.0.0.1, or set a token of at least 16 characters"
        )


def token_matches(given: str | None, token: str) -> bool:
    """Compared in constant time; no token set: everything matches."""
    if not token:
        return True
    # "replace": a header may hold bytes that are not text, and they must not raise here.
    return given is not None and hmac.compare_digest(
        given.encode("utf-8", "replace"), token.encode("utf-8", "replace")
    )
