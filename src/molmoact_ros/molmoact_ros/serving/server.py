"""Listens for one robot. Who may come in is decided here; what is said is in the sessions.

Doors, in this order: no browser (any site's script could reach loopback; browsers always send
Origin, RFC 6455 section 4.1), the token, a known path, and nobody else inside. ``/healthz``
answers HTTP without a token and says nothing about the model.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from molmoact_ros.access import check_bind, token_matches
from molmoact_ros.policy.base import Policy
from molmoact_ros.policy.startup_checks import ModelDescription
from molmoact_ros.policy.wire.answers import NO_ID, Complaint, answer_to_wire
from molmoact_ros.policy.wire.codec import DEFAULT_LIMITS, pack
from molmoact_ros.serving.openpi import OpenpiSession
from molmoact_ros.serving.session import Session
from molmoact_ros.serving.worker import PolicyWorker

log = logging.getLogger(__name__)

PATH, OPENPI_PATH, HEALTH_PATH = "/", "/openpi", "/healthz"
MAX_FRAME_BYTES = 8 * DEFAULT_LIMITS.message_bytes
"""A message above the limit is answered with an error; above this one, with a closed connection,
since reading on would fill the memory."""
PING_INTERVAL_S, PING_TIMEOUT_S = 5.0, 10.0
"""A robot that vanished frees its place after at most the sum."""
TRY_AGAIN_LATER = 1013
"""Close code of the IANA registry (RFC 6455 section 11.7)."""
OCCUPIED = "another robot is connected to this policy server; disconnect it or start a second one"


class PolicyServer:
    """Serves ``policy``, described by ``model``, to one robot at a time.

    Usage: ``async with PolicyServer(policy, model).listen() as port``. ``host``: address to bind.
    ``port`` 0 takes a free one. Raises BindRefusedError when others could reach it without a token.
    """

    def __init__(
        self,
        policy: Policy,
        model: ModelDescription,
        *,
        host: str = "127.0.0.1",
        port: int = 8770,
        token: str = "",
    ) -> None:
        check_bind(host, token, risk="use this policy")
        self._worker = PolicyWorker(policy, model)
        self._model = model
        self._host, self._port, self._token = host, port, token
        self._robot: ServerConnection | None = None

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        """Serve until the block ends; gives the port. Raises OSError when it cannot be bound."""
        server: Server = await serve(
            self._handle,
            self._host,
            self._port,
            origins=[None],
            process_request=self._admit,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            max_queue=2,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            close_timeout=1.0,
            server_header=None,
        )
        try:
            yield next(iter(server.sockets)).getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()
            self._worker.close()

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == HEALTH_PATH:
            return connection.respond(HTTPStatus.OK, "ok\n")
        if not token_matches(_token_in(request), self._token):
            return connection.respond(
                HTTPStatus.UNAUTHORIZED, "send the header: Authorization: Bearer <token>\n"
            )
        if path not in (PATH, OPENPI_PATH):
            return connection.respond(
                HTTPStatus.NOT_FOUND, f"use {PATH}, {OPENPI_PATH} or {HEALTH_PATH}\n"
            )
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        who = connection.remote_address
        openpi = urlsplit(_path_of(connection)).path == OPENPI_PATH
        try:
            if self._robot is not None:
                log.warning("refused %s: %s", who, OCCUPIED)
                if not openpi:  # an openpi client takes the first message for metadata
                    await connection.send(pack(answer_to_wire(Complaint(NO_ID, OCCUPIED))))
                await connection.close(TRY_AGAIN_LATER, OCCUPIED)
                return
            self._robot = connection
            log.info("a robot connected from %s", who)
            try:
                if openpi:
                    await OpenpiSession(connection, self._worker, self._model).serve()
                else:
                    await Session(connection, self._worker, self._model).serve()
            finally:
                self._robot = None
        except ConnectionClosed as closed:
            log.info("the robot at %s left: %s", who, closed)
        except Exception:  # a bug in one conversation must not end the server
            log.exception("the conversation with %s failed", who)


def _token_in(request: Request) -> str | None:
    """The secret of ``Authorization: Bearer T``, or of ``Api-Key T`` as openpi's client sends."""
    given = request.headers.get_all("Authorization")
    if len(given) != 1:
        return None
    scheme, _, token = given[0].partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "api-key") else None


def _path_of(connection: ServerConnection) -> str:
    return connection.request.path if connection.request is not None else PATH
