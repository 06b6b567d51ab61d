"""Trigger services whose answers take seconds, without holding up the executor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future as ArmFuture

from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

TriggerCallback = Callable[[Trigger.Request, Trigger.Response], Awaitable[Trigger.Response]]


def answered_later(node: Node, ask: Callable[[], ArmFuture[str]]) -> TriggerCallback:
    """A callback that answers with the words of ``ask``'s result, or with those of its error."""

    async def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        executor = node.executor
        done = Future(executor=executor)
        future = ask()

        def resume(_: object) -> None:
            done.set_result(None)
            executor.wake()  # it looks at waiting callbacks only when something happens

        future.add_done_callback(resume)
        await done
        error = future.exception()
        response.success = error is None
        response.message = str(error) if error is not None else future.result()
        return response

    return callback
