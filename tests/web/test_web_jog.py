"""A hand on the page: the tool moves while a button is held, and stops when anything lets go."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser_helpers import SUGGESTION, wait
from web_helpers import Recorder, go, until, wait_for
from web_helpers import page as open_page

from molmoact_ros.web.page import PageState
from molmoact_ros.web.requests import MalformedError, parse_request
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import Session

REST, PUSH = [0.0] * 6, [0.0, 0.7, 0.0, 0.0, 0.0, 0.0]
HELD, FREE = [True, False, False, False], [False, False, False, False]


@pytest.fixture
def state() -> PageState:
    return PageState(Session("a model", "a test", (SUGGESTION,), has_teleop=True))


def jog(axes: object, buttons: object) -> str:
    return json.dumps({"type": "jog", "axes": axes, "buttons": buttons})


@pytest.mark.parametrize(
    ("axes", "buttons"),
    [
        ([0.0] * 5, HELD), ([0.0] * 5 + ["x"], HELD), ([1.01, *REST[1:]], HELD), (None, HELD),
        ([float("nan"), *REST[1:]], HELD), (REST, [1, 0, 0, 0]), (REST, [True]), (REST, None),
    ],
)  # fmt: skip
def test_motions_that_mean_nothing_are_refused(axes: object, buttons: object) -> None:
    with pytest.raises(MalformedError, match="axes|buttons"):
        parse_request(jog(axes, buttons))


def test_a_motion_is_passed_on_at_once_even_while_a_command_runs(
    server: SteeringServer, commands: Recorder
) -> None:
    """Home takes seconds; a hand that waits behind it would move the arm when nobody expects it."""

    async def use() -> None:
        async with open_page(server) as socket:
            await until(socket, lambda m: m["type"] == "role" and m["driving"])
            commands.gate.clear()
            await socket.send_str(json.dumps({"type": "home", "id": 1}))
            await socket.send_str(jog(PUSH, HELD))
            await wait_for(lambda: bool(commands.jogs))
            commands.gate.set()

    go(use())
    assert commands.jogs == [(tuple(PUSH), tuple(HELD))]


def test_who_watches_cannot_move_the_arm(server: SteeringServer, commands: Recorder) -> None:
    async def use() -> None:
        async with open_page(server) as first, open_page(server) as second:
            await until(first, lambda m: m["type"] == "role" and m["driving"])
            await second.send_str(jog(PUSH, HELD))
            refused = await until(second, lambda m: m["type"] == "error")
            assert "you are watching" in refused["message"]

    go(use())
    assert not commands.jogs


def test_the_tool_moves_while_a_button_is_held_and_only_then(page: Any, commands: Recorder) -> None:
    """The switch is seen at rest first, and its release is the last thing sent."""
    button = page.find_element("css selector", '[data-jog="1 1"]')
    wait(button.is_displayed)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    place = page.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return [r.x + 20, r.y + 20]", button
    )

    def mouse(kind: str) -> None:
        held = {"button": "left", "clickCount": 1, "x": place[0], "y": place[1]}
        page.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **held})

    mouse("mousePressed")
    wait(lambda: len(commands.jogs) > 4)
    mouse("mouseReleased")
    wait(lambda: commands.jogs[-1] == (tuple(REST), tuple(FREE)))
    assert commands.jogs[0] == (tuple(REST), tuple(HELD))
    assert set(commands.jogs[1:-1]) == {(tuple(PUSH), tuple(HELD))}
    sent = len(commands.jogs)
    time.sleep(0.3)
    assert len(commands.jogs) == sent


def test_space_takes_the_hand_off_the_arm(page: Any, commands: Recorder) -> None:
    button = page.find_element("css selector", '[data-jog="2 1"]')
    wait(button.is_displayed)
    page.execute_script("arguments[0].focus()", button)
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    page.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    wait(lambda: len(commands.jogs) > 2)
    space = {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32}
    page.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "rawKeyDown", **space})
    wait(lambda: commands.jogs[-1] == (tuple(REST), tuple(FREE)))
    assert commands.stopped.wait(5.0)
