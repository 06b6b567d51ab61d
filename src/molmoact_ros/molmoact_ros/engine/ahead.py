"""Picture preparation off the critical path: it runs in a thread while the last thought decodes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """One prepared input at most: the newest. Any thread may call; ``close`` ends its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._newest: tuple[Hashable, Future[T]] | None = None
        self._lock = threading.Lock()

    def begin(self, key: Hashable, work: Callable[[], T]) -> None:
        """Start preparing; an older input that nobody took is dropped."""
        with self._lock:
            if self._newest is not None:
                self._newest[1].cancel()
            self._newest = key, self._pool.submit(work)

    def take(self, key: Hashable, work: Callable[[], T]) -> T:
        """The result for ``key``: prepared ahead, or made now. Errors of ``work`` are raised."""
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is not None and newest[0] == key:
            return newest[1].result()
        if newest is not None:
            newest[1].cancel()
        return work()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
