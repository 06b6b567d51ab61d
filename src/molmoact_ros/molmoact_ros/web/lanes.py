"""Two lanes for commands: STOP has one of its own, so nothing can be in front of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from molmoact_ros.web.page import Drawn, PageCommands, PageError
from molmoact_ros.web.requests import Request

log = logging.getLogger(__name__)


class Lanes:
    """Runs PageCommands off the event loop. ``run`` is called on the loop."""

    def __init__(self, commands: PageCommands) -> None:
        self._commands = commands
        self._stop_pool = ThreadPoolExecutor(1, "steering-stop")
        self._pool = ThreadPoolExecutor(1, "steering-commands")
        self._lock = threading.Lock()
        self._waiting_stop: Future[str] | None = None

    async def run(self, request: Request, drawn: Drawn | None = None) -> str:
        """The command's answer in words. Raises PageError when it was refused or failed.

        drawn: the path of a steer request, with the picture it was drawn on.
        """
        if request.kind == "stop":
            return await self._outcome(self._submit_stop(), "stop")
        return await self._outcome(self._pool.submit(self._call, request, drawn), request.kind)

    def jog(self, request: Request) -> None:
        """A hand's motion: published at once, never queued behind a command."""
        self._commands.jog(request.axes, request.buttons)

    def close(self) -> None:
        """Let running commands end; drop those that have not begun."""
        self._stop_pool.shutdown(wait=False, cancel_futures=False)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit_stop(self) -> Future[str]:
        # A stop that waits but has not begun covers every stop asked for until it begins,
        # so a page that floods stops cannot build a queue, and none is ever lost.
        with self._lock:
            if self._waiting_stop is None:
                self._waiting_stop = self._stop_pool.submit(self._stop)
            return self._waiting_stop

    def _stop(self) -> str:
        with self._lock:
            self._waiting_stop = None
        return self._commands.stop()

    def _call(self, request: Request, drawn: Drawn | None) -> str:
        commands = self._commands
        if request.kind == "start":
            return commands.start(request.instruction, request.mode)
        if request.kind == "steer":
            assert drawn is not None, "the client looks the picture up"
            return commands.steer(drawn)
        if request.kind == "review":
            return commands.review(request.plan, request.choice)
        if request.kind == "record":
            return commands.record(request.choice, request.instruction)
        if request.kind == "hand":
            return commands.hand(request.choice)
        if request.kind == "train":
            return commands.train(request.choice)
        plain = {
            "reset": commands.reset,
            "home": commands.home,
            "new_scene": commands.new_scene,
            "clear": commands.clear,
        }
        return plain[request.kind]()

    async def _outcome(self, future: Future[str], name: str) -> str:
        await asyncio.wait({asyncio.wrap_future(_uncancelled(future))})
        error = future.exception()
        if isinstance(error, PageError):
            raise error
        if error is not None:
            log.error("the page's command %s failed", name, exc_info=error)
            raise PageError(
                f"{name} failed inside the program ({error}); see the terminal that started it"
            )
        return future.result()


def _uncancelled(future: Future[str]) -> Future[None]:
    """Ends when ``future`` ends, but a page that leaves cannot cancel the command with it."""
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()
    future.add_done_callback(lambda _: done.set_result(None))
    return done
