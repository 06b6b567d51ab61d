"""Watches a run from outside: one line a thought; headless: gives the task, scores it, films it.

It talks to the robot through topics and the action alone. Ground truth (simulation only) is
read for the score and for nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from molmoact_msgs.action import ExecuteInstruction
from rclpy.executors import SingleThreadedExecutor

from molmoact_ros.evals.run_record import RunRecord, write
from molmoact_ros.evals.score import Scorer
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import start_ros
from molmoact_ros.nodes.watcher import Watcher

STOP_PEERS = "@@ run ended"
"""Tells the demo that every other process may stop while the film is drawn."""


READY_TIMEOUT_S = 60.0
AFTER_SUCCESS_S = 2.5


def run_task(
    watcher: Watcher,
    executor: SingleThreadedExecutor,
    scorer: Scorer | None,
    seconds: float,
    canceled: Callable[[], bool] = lambda: False,
) -> dict[str, object]:
    """Wait until everything is there, give the instruction, score it. Returns the result."""
    begin = time.monotonic()
    while missing := watcher.not_ready():
        if canceled() or time.monotonic() - begin > READY_TIMEOUT_S:
            return {"success": False, "seconds": 0.0, "message": f"gave up waiting for {missing}"}
        executor.spin_once(timeout_sec=0.1)
    watcher.record.frames.clear()
    goal = ExecuteInstruction.Goal(
        instruction=watcher.record.instruction, max_duration=convert.to_duration(seconds)
    )
    sent = watcher.actions.send_goal_async(goal)
    executor.spin_until_future_complete(sent, timeout_sec=5.0)
    handle = sent.result()
    if handle is None or not handle.accepted:
        why = watcher.policy.detail if watcher.policy else "no answer"
        return {"success": False, "seconds": 0.0, "message": f"goal refused: {why}"}
    ended = handle.get_result_async()
    start = time.monotonic()
    succeeded_at: float | None = None
    while not ended.done() and time.monotonic() - start < seconds + 5.0:
        executor.spin_once(timeout_sec=0.05)
        if scorer is not None and succeeded_at is None and scorer.update():
            succeeded_at = time.monotonic()
        over = succeeded_at is not None and time.monotonic() - succeeded_at > AFTER_SUCCESS_S
        if over or canceled():
            executor.spin_until_future_complete(handle.cancel_goal_async(), timeout_sec=3.0)
            executor.spin_until_future_complete(ended, timeout_sec=3.0)
            break
    elapsed = (succeeded_at or time.monotonic()) - start
    message = ended.result().result.message if ended.done() else "still running"
    return {
        "success": succeeded_at is not None,
        "seconds": round(elapsed, 2),
        "message": scorer.words() if scorer is not None else message,
        "ended": message,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--instruction", default="")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--no-film", action="store_true")
    parser.add_argument("--depth-weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args(argv)
    stopping = start_ros([])
    executor = SingleThreadedExecutor()
    stopping.wakes(executor)
    watcher = Watcher(options.instruction, options.headless and not options.no_film)
    executor.add_node(watcher)
    try:
        if not options.headless:
            while not stopping.is_set():
                executor.spin_once()
            return
        scorer = Scorer(options.host, options.instruction)
        result = run_task(watcher, executor, scorer, options.seconds, stopping.is_set)
    finally:
        stopping.finish()
        watcher.destroy_node()
        rclpy.try_shutdown()
    thoughts = watcher.record.thoughts
    result |= {
        "seed": options.seed,
        "instruction": options.instruction,
        "policy": thoughts[-1].model if thoughts else "",
        "thoughts": len(thoughts),
        "refused": watcher.refused,
    }
    sys.stdout.write(STOP_PEERS + "\n")
    sys.stdout.flush()
    try:
        _save(
            watcher.record,
            options.out,
            result,
            options.depth_weights,
            lambda: stopping.signaled,
        )
    except _StoppedError:
        sys.stdout.write(f"stopped before the film was done; what is there is in {options.out}\n")
    sys.exit(0)


class _StoppedError(Exception):
    """The person does not want to wait for the film."""


def _save(
    record: RunRecord,
    folder: Path,
    result: dict[str, object],
    weights: Path | None,
    canceled: Callable[[], bool],
) -> None:
    from molmoact_ros.model.depth_codec import DepthCodec

    codec = DepthCodec.from_file(weights)

    def progress(done: int, total: int) -> None:
        if canceled():
            raise _StoppedError
        if done % 50 == 0 or done == total:
            sys.stdout.write(f"drawing the film: frame {done} of {total}\n")
            sys.stdout.flush()

    for path in write(record, folder, result, codec.picture, progress):
        sys.stdout.write(f"wrote {path}\n")
    outcome = "SUCCESS" if result["success"] else "NO SUCCESS"
    sys.stdout.write(f"{outcome} after {result['seconds']} s: {result['message']}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
