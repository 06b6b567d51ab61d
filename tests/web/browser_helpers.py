"""What the browser tests share: looking at the page, waiting for it, and a moment to show."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from molmoact_ros.web.page import PageState, Stream
from molmoact_ros.web.status import ArmStatus, CommandStatus, PolicyStatus, ThoughtView

SUGGESTION = "put the red cube on the plate"


def size(browser: Any, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 900}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def text(browser: Any, name: str) -> str:
    return str(browser.execute_script(f"return document.getElementById('{name}').textContent"))


def press(browser: Any, name: str) -> None:
    browser.find_element("id", name).click()


def wait(true: Callable[[], object]) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("waited 10 s for something that did not happen")


def console(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def fill(state: PageState) -> None:
    """A moment in the middle of a task."""
    now = state.clock()
    for stream, side in ((Stream.EXTERNAL, 480), (Stream.WRIST, 240), (Stream.DEPTH, 240)):
        state.put_image(stream, np.full((side, side * 4 // 3, 3), 90, np.uint8), now)
    state.set_policy(PolicyStatus("executing", SUGGESTION, chunk_id=7, row=2, rows=8))
    state.set_command(CommandStatus("policy"))
    state.set_arm(ArmStatus(connected=True, armed=True))
    state.add_thought(
        ThoughtView(
            7,
            now,
            SUGGESTION,
            trace=((25.5, 25.5), (127.5, 127.5), (229.5, 127.5)),
            actions=tuple((0.01, 0.0, -0.0049, 0.0, 0.0, np.pi / 180, 1.0) for _ in range(8)),
            timings={"encode": 0.1, "generate": 0.5},
        )
    )
