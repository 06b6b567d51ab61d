"""The few places where franky-sim 1.0.4 must be reached into, and what is wrong there.

The wheel itself stays unmodified. Every private name is looked up through ``private``, which
refuses a version of the wheel that does not have it.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from franky_sim.franka_server import FrankaServer, MessageReceiver, NonBlockingReceiver


def private(owner: Any, cls: type, name: str) -> Any:
    """Attribute ``__name`` that class ``cls`` keeps in ``owner``. RuntimeError without it."""
    try:
        return getattr(owner, f"_{cls.__name__}__{name}")
    except AttributeError as error:
        raise RuntimeError(
            f"franky-sim has no __{name} in {cls.__name__}: this is not version 1.0.4. Install "
            "the pinned one: pip install franky-sim==1.0.4"
        ) from error


def set_private(owner: Any, cls: type, name: str, value: object) -> None:
    """Replace such an attribute. RuntimeError without it."""
    private(owner, cls, name)
    setattr(owner, f"_{cls.__name__}__{name}", value)


def rebind_commands_to(server: FrankaServer, host: str) -> None:
    """Listen for motion commands at ``host`` only; the wheel takes them from every network
    interface of the machine. Call right after the wheel has opened its UDP socket."""
    private(server, FrankaServer, "udp_socket").close()
    local = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    local.bind((host, 0))
    local.setblocking(False)
    set_private(server, FrankaServer, "udp_socket", local)
    set_private(server, FrankaServer, "udp_receiver", NonBlockingReceiver(local))


_SOCKETS = attrgetter(
    *(
        f"_FrankaServer__{name}"
        for name in ("tcp_socket", "server_socket", "udp_socket", "tcp_receiver")
    )
)


def process_what_waits(servers: Sequence[FrankaServer]) -> Iterator[Callable[[], None]]:
    """For each server what it has to do this tick, after one question to all sockets.

    The wheel tries every socket every millisecond and is answered with exceptions.
    """
    inboxes = []
    for server in servers:
        client, door, datagrams, receiver = _SOCKETS(server)
        # A command that was read together with the one before waits in memory.
        unread = receiver is not None and private(receiver, MessageReceiver, "receiver").buffer
        inboxes.append((server, client or door, datagrams, bool(unread)))
    sockets = [s for _, door, datagrams, _ in inboxes for s in (door, datagrams) if s is not None]
    ringing = select.select(sockets, (), (), 0)[0]
    for server, door, datagrams, unread in inboxes:
        if unread or door in ringing:
            yield partial(FrankaServer.process_commands, server)
        else:
            yield partial(_process_datagrams, server, datagrams in ringing)


def _process_datagrams(server: FrankaServer, waiting: bool) -> None:
    server._pre_process_commands()
    if waiting:
        server._process_udp_commands()
    server._post_process_commands()
