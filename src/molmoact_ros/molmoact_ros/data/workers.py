"""One piece of work after the other in several processes, whatever happens to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    processes: int,
    died: Callable[[Job], Result],
) -> Iterator[Result]:
    """Results in the order of ``jobs``; what ``work`` raises ends it.

    A process that is killed (memory, a crash in a library) takes all others with it: from there
    on one process works alone, so that ``died`` is asked about the job that killed it.
    """
    if processes <= 1:
        yield from map(work, jobs)
        return
    left = list(jobs)
    while left:
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
        try:
            for future in [pool.submit(work, job) for job in left]:
                result = future.result()
                left.pop(0)
                yield result
        except BrokenProcessPool:
            if processes == 1:
                yield died(left.pop(0))
            processes = 1
        finally:
            pool.shutdown(cancel_futures=True)
