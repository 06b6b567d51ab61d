"""The steering page's server: one thread, one event loop, beside whatever else runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import web

from molmoact_ros.web import security
from molmoact_ros.web.client import Client
from molmoact_ros.web.files import load_static
from molmoact_ros.web.lanes import Lanes
from molmoact_ros.web.page import PageCommands, PageError, PageState, Stream
from molmoact_ros.web.requests import Request
from molmoact_ros.web.seat import Seat

log = logging.getLogger(__name__)

_MAX_CLIENTS = 16
_SOCKET_BYTES = 64 * 1024  # above protocol.MAX_MESSAGE_BYTES: too long gets an answer first

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SteeringServer:
    """Serves the page, its pictures and its commands.

    Call order: ``start`` (binds, returns when the page can be opened), ``close``. Both from
    any thread. ``port`` 0 takes a free one. Raises BindRefusedError when ``host`` is not loopback
    and there is no token.
    """

    def __init__(
        self,
        state: PageState,
        commands: PageCommands,
        host: str = "127.0.0.1",
        port: int = 8765,
        token: str = "",
        *,
        allowed_hosts: tuple[str, ...] = (),
    ) -> None:
        security.check_bind(host, token)
        self._state, self._token = state, token
        self._host, self._port = host, port
        self._names = frozenset(name.lower() for name in (host, *allowed_hosts) if name)
        self._lanes = Lanes(commands)
        self._clients: set[Client] = set()
        self._seat = Seat()
        self._files = load_static()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="steering-page", daemon=True)
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._lock = threading.Lock()
        self._open = False
        self._ending = asyncio.Event()

    @property
    def url(self) -> str:
        """Where to open the page; holds the token when one is set."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/" + (f"?token={self._token}" if self._token else "")

    @property
    def clients(self) -> int:
        """Pages open now."""
        return len(self._clients)

    def start(self) -> SteeringServer:
        """Bind and serve. Raises PageError when the address cannot be used."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise PageError(
                f"cannot serve the page on {self._host}:{self._port} ({self._failure.strerror}); "
                "end the other program on that port, or choose another port"
            )
        return self

    def close(self) -> None:
        """Close all pages and end the thread. Safe to repeat."""
        with self._lock:
            if self._open:
                self._open = False
                self._loop.call_soon_threadsafe(self._ending.set)
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        self._lanes.close()

    def __enter__(self) -> SteeringServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- the thread -------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._guard], client_max_size=_SOCKET_BYTES)
        app.router.add_get("/", self._index)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/ws", self._socket)
        app.router.add_post("/stop", self._stop)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            self._failure = error
            await runner.cleanup()
            return
        self._port = int(runner.addresses[0][1])
        with self._lock:
            self._open = True
        undo = self._state.listen(self._poke)
        self._ready.set()
        await self._ending.wait()
        undo()
        for client in tuple(self._clients):
            await client.close()
        await runner.cleanup()

    def _poke(self) -> None:
        """Called from writers' threads, possibly while the server closes."""
        with self._lock:
            if self._open and self._clients:
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for client in self._clients:
            client.wake()

    # --- requests ---------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Host and token before anything else; security headers on every answer."""
        response: web.StreamResponse
        refused = self._refusal(request)
        if refused is not None:
            response = web.Response(status=refused[0], text=refused[1])
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=error.reason)
        if not response.prepared:
            response.headers.update(security.HEADERS)
        return response

    def _refusal(self, request: web.Request) -> tuple[int, str] | None:
        local = security.is_loopback(request.remote)
        if request.path == "/stop" and local:
            return None  # stopping is always safe, so nothing may refuse it on this machine
        if not security.host_allowed(request.host, self._names):
            return 403, (
                f"This page is not called {request.host!r}. Open it by its IP address, or add "
                "the name to allowed_hosts."
            )
        if not security.origin_allowed(request.headers.get("Origin"), request.host):
            return 403, "Refused: the request comes from another site. Open the page itself."
        public = request.path == "/healthz" or request.path.startswith("/static/")
        if not public and not security.token_matches(self._given(request), self._token):
            return 401, "A token is needed. Open the address that the terminal printed."
        return None

    def _given(self, request: web.Request) -> str | None:
        bearer = request.headers.get("Authorization", "")
        if bearer.startswith("Bearer "):
            return bearer[len("Bearer ") :]
        return request.query.get("token") or request.cookies.get(security.COOKIE)

    async def _index(self, request: web.Request) -> web.StreamResponse:
        if self._token and "token" in request.query:
            # Out of the address bar, where a screenshot or a history would keep it.
            moved = web.Response(status=303, headers={"Location": "/"})
            moved.set_cookie(security.COOKIE, self._token, httponly=True, samesite="Strict")
            return moved
        return self._file("index.html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        if name not in self._files:
            return web.Response(status=404, text="There is no such file.")
        body, kind = self._files[name]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _health(self, request: web.Request) -> web.StreamResponse:
        picture = self._state.picture(Stream.EXTERNAL)
        age = None if picture is None else round(self._state.clock() - picture.stamp, 3)
        return web.json_response({"ok": True, "pages": self.clients, "external_age_s": age})

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response({"message": await self._lanes.run(Request("stop"))})
        except PageError as error:
            return web.json_response({"message": str(error)}, status=500)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if len(self._clients) >= _MAX_CLIENTS:
            return web.Response(status=503, text=f"{_MAX_CLIENTS} pages are open; close one.")
        socket = web.WebSocketResponse(heartbeat=10.0, max_msg_size=_SOCKET_BYTES, compress=False)
        socket.headers.update(security.HEADERS)
        await socket.prepare(request)
        name = "this computer" if security.is_loopback(request.remote) else str(request.remote)
        client = Client(socket, self._state, self._lanes.run, self._lanes.jog, self._seat, name)
        self._clients.add(client)
        self._seat.enter(client, name)
        self._wake()
        try:
            await client.serve()
        finally:
            self._clients.discard(client)
            self._seat.leave(client)
            self._wake()
        return socket
