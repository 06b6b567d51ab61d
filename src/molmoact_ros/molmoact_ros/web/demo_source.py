"""The page without a robot: a drawn table-top and a make-believe policy.

For working on the page and for its tests: ``python -m molmoact_ros.web.demo_source``.
Nothing here thinks or moves; ``Session.thinker`` says so on the page.
"""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from molmoact_ros.viz.depth_view import colour_depth
from molmoact_ros.web.demo_views import LENGTH, Floats, Views, drawn_views, remaining, tip
from molmoact_ros.web.page import Drawn, PageError, PageState, Stream
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import (
    ArmStatus,
    CommandStatus,
    PolicyStatus,
    Session,
    ThoughtView,
)

RATE_HZ = 15.0
ROWS = 8
SUGGESTIONS = (
    "put the red cube on the plate",
    "pick up the blue cube",
    "put the green cube into the bowl",
    "move the yellow cube next to the red cube",
)


class Demo:
    """PageCommands, and the thread that fills a PageState at 15 Hz until ``close``."""

    def __init__(
        self,
        state: PageState,
        views: Callable[[int], Views] = drawn_views,
        way: Callable[[int], Floats] = remaining,
    ) -> None:
        self._state, self._views, self._way = state, views, way
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._running, self._tick, self._chunk = False, 0, 0
        self._policy = PolicyStatus()
        self._path: list[tuple[float, float]] = []
        self.calls: list[str] = []
        self._thread = threading.Thread(target=self._run, name="page-demo", daemon=True)
        state.set_session(
            Session("nothing: a drawn demonstration", "nothing", SUGGESTIONS, can_new_scene=True)
        )
        state.set_command(CommandStatus("hold"))
        state.set_arm(ArmStatus(connected=True, armed=True, mode="drawn", gripper_width=0.08))
        state.set_policy(self._policy)

    def begin(self) -> Demo:
        self._thread.start()
        return self

    def close(self) -> None:
        self._ending.set()
        self._thread.join(timeout=2.0)

    # --- PageCommands -----------------------------------------------------------

    def start(self, instruction: str, mode: str) -> str:
        self.calls.append(f"start {instruction} ({mode})")
        with self._lock:
            if not self._state_enabled():
                raise PageError("The motion was stopped. Press Reset first, then Start.")
            self._running, self._tick, self._path = True, 0, []
            self._policy = PolicyStatus("thinking", instruction, mode=mode)
        return f"Started: {instruction}"

    def stop(self) -> str:
        self.calls.append("stop")
        with self._lock:
            self._running = False
            self._policy = replace(self._policy, phase="idle", rows=0, row=0)
        self._state.set_command(CommandStatus("hold", enabled=False, reason="STOP was pressed"))
        self._state.set_policy(self._policy)
        return "Stopped"

    def reset(self) -> str:
        self.calls.append("reset")
        self._state.set_command(CommandStatus("hold"))
        return "Reset: ready to move"

    def home(self) -> str:
        self.calls.append("home")
        with self._lock:
            self._tick, self._path = 0, []
        return "At home"

    def new_scene(self) -> str:
        self.calls.append("new_scene")
        return self.home()

    def jog(self, axes: Sequence[float], buttons: Sequence[bool]) -> None:
        self.calls.append(f"jog {[round(float(a), 2) for a in axes]} {list(buttons)}")

    def steer(self, drawn: Drawn) -> str:
        self.calls.append(f"steer {len(drawn.points)} points")
        self._state.set_sketch(drawn.points)
        return "your path steers the next chunk"

    def clear(self) -> str:
        self._state.set_sketch(())
        return "path cleared"

    def review(self, plan: int, choice: str) -> str:
        self.calls.append(f"review {plan} {choice}")
        return choice

    def record(self, choice: str, task: str) -> str:
        raise PageError("there is no recorder in this demonstration")

    def train(self, choice: str) -> str:
        self.calls.append(f"train {choice}")
        return {"start": "Fine-tuning has started", "stop": "Fine-tuning saves and ends"}[choice]

    def hand(self, choice: str) -> str:
        raise PageError("there is no arm in this demonstration")

    # --- the thread -------------------------------------------------------------

    def _state_enabled(self) -> bool:
        command = self._state.snapshot().status["command"]
        return isinstance(command, dict) and bool(command["enabled"])

    def _run(self) -> None:
        while not self._ending.wait(1.0 / RATE_HZ):
            with self._lock:
                self._step()
                tick = self._tick
            views, stamp = self._views(tick), self._state.clock()
            self._state.put_image(Stream.EXTERNAL, views.external, stamp)
            self._state.put_image(Stream.WRIST, views.wrist, stamp)
            if tick % ROWS == 0:
                shown = colour_depth(views.depth, (320, 240), label=False)
                self._state.put_image(Stream.DEPTH, shown, stamp)

    def _step(self) -> None:
        if not self._running:
            return
        row = self._tick % ROWS
        if row == 0:
            self._think()
        moving = self._policy.mode != "shadow"
        self._policy = replace(self._policy, phase="executing", row=row, rows=ROWS)
        self._state.set_policy(self._policy)
        self._state.set_command(CommandStatus("policy" if moving else "hold"))
        x, y = self._way(self._tick)[0]
        self._path = [*self._path, (float(x), float(y))][-60:]
        self._state.set_executed(self._path)
        self._tick += 1
        if self._tick > LENGTH:
            self._running = False
            self._policy = replace(self._policy, phase="idle", detail="Done: the cube is there.")
            self._state.set_policy(self._policy)
            self._state.set_command(CommandStatus("hold"))

    def _think(self) -> None:
        self._chunk += 1
        now = tip(self._tick)
        steps = np.stack([tip(self._tick + 1 + i) - tip(self._tick + i) for i in range(ROWS)])
        grip = 0.0 if self._tick >= 56 else 1.0
        actions = tuple(
            (dy * 0.003, dx * 0.003, -dy * 0.004, 0.0, 0.004 * dx, 0.02 * np.sin(i), grip)
            for i, (dx, dy) in enumerate(steps)
        )
        wobble = float(abs(np.sin(self._chunk)))
        self._policy = replace(self._policy, chunk_id=self._chunk, detail="")
        self._state.add_thought(
            ThoughtView(
                chunk_id=self._chunk,
                stamp=self._state.clock(),
                instruction=self._policy.instruction,
                trace=tuple((float(x), float(y)) for x, y in self._way(self._tick)),
                actions=tuple(tuple(float(v) for v in row) for row in actions),
                timings={
                    "wait_images": 0.02 + 0.01 * wobble,
                    "encode": 0.11 + 0.01 * now[0] / 255,
                    "generate": 0.36 + 0.16 * wobble,
                    "decode_depth": 0.05,
                },
            )
        )


def main() -> None:
    """Serve the demonstration until Ctrl-C."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=8765)
    port = options.parse_args().port
    logging.basicConfig(level=logging.INFO)
    state = PageState()
    demo = Demo(state).begin()
    with SteeringServer(state, demo, port=port) as server:
        logging.getLogger(__name__).info("open %s", server.url)
        try:
            while True:
                time.sleep(1.0)
        except KeyboardInterrupt:
            demo.close()


if __name__ == "__main__":
    main()
