"""The page without a robot: a drawn table-top and a make-believe policy.

For working on the page and for its tests: ``python -m molmoact_ros.web.demo_source``.
Nothing here thinks or moves; ``Session.thinker`` says so on the page.
"""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from molmoact_ros.viz.depth_view import colour_depth
from molmoact_ros.web.page import PageError, PageState, Stream
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import (
    ArmStatus,
    CommandStatus,
    PolicyStatus,
    Session,
    ThoughtView,
)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

RATE_HZ = 15.0
ROWS = 8
SUGGESTIONS = (
    "put the red cube on the plate",
    "pick up the blue cube",
    "put the green cube into the bowl",
    "move the yellow cube next to the red cube",
)
# Way points of the make-believe task on the 0..255 grid: home, above, grasp, lift, place.
_WAY = np.array([[128, 70], [92, 120], [88, 158], [120, 100], [176, 150]], dtype=np.float64)
_LENGTH = 120  # ticks of the whole way


@dataclass(frozen=True)
class Views:
    """One tick's pictures. external, wrist: RGB [H, W, 3]; depth: relative [H, W], 1 = near."""

    external: Bytes
    wrist: Bytes
    depth: NDArray[np.floating]


def tip(tick: int) -> Floats:
    """Where the make-believe tool is at ``tick``, on the 0..255 grid."""
    part = np.clip(tick / _LENGTH, 0.0, 1.0) * (len(_WAY) - 1)
    return np.array([np.interp(part, np.arange(len(_WAY)), _WAY[:, axis]) for axis in (0, 1)])


def remaining(tick: int, points: int = 5) -> Floats:
    """The way that is left, [points, 2] on the 0..255 grid."""
    return np.stack([tip(int(t)) for t in np.linspace(tick, _LENGTH, points)])


def drawn_views(tick: int) -> Views:
    """A drawn table with cubes, plate and tool; 640 x 480 and 320 x 240."""
    picture = np.empty((480, 640, 3), np.uint8)
    picture[:170] = (205, 211, 218)
    picture[170:] = (188, 172, 150)
    x, y = (tip(tick) / 255 * (640, 480)).round().astype(int).tolist()
    carried = 60 <= tick < _LENGTH
    cubes = {(196, 58, 52): (220, 297), (62, 104, 190): (330, 250), (80, 150, 84): (150, 240)}
    cv2.ellipse(picture, (442, 292), (70, 34), 0, 0, 360, (236, 236, 232), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (442, 290), (52, 24), 0, 0, 360, (222, 222, 218), -1, cv2.LINE_AA)
    for index, (colour, (u, v)) in enumerate(cubes.items()):
        if index == 0 and (carried or tick >= _LENGTH):
            u, v = (x, y) if carried else (442, 284)
        cv2.rectangle(picture, (u - 17, v - 17), (u + 17, v + 17), colour, -1, cv2.LINE_AA)
        cv2.rectangle(picture, (u - 17, v - 17), (u + 17, v - 9), (255, 255, 255), 1)
    cv2.line(picture, (x, y - 30), (330, -40), (236, 238, 240), 46, cv2.LINE_AA)
    for side in (-14, 14):
        cv2.line(picture, (x + side, y - 34), (x + side, y - 2), (60, 64, 70), 8, cv2.LINE_AA)
    depth = np.tile(np.linspace(0.05, 0.85, 320)[:, None], (1, 320)) ** 1.4
    cv2.line(depth, (x // 2, y * 2 // 3), (165, -30), 0.95, 26)
    wrist = picture[max(y - 90, 0) : max(y - 90, 0) + 180, max(x - 120, 0) : max(x - 120, 0) + 240]
    return Views(picture, cv2.resize(wrist, (320, 240)).astype(np.uint8), depth)


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
        if self._tick > _LENGTH:
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
