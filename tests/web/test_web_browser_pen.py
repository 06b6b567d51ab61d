"""Steering in a real browser: mouse, finger, keys; the plan that waits; STOP over everything."""

from __future__ import annotations

import asyncio
import base64
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser_helpers import SUGGESTION, console, fill, press, size, text, wait
from web_helpers import Recorder
from web_helpers import page as open_page

from molmoact_ros.reasoning.overlay import draw_trace
from molmoact_ros.web.page import PageState, Stream
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import CommandStatus, PolicyStatus, RecorderStatus

Points = list[tuple[float, float]]
STROKE: Points = [(60.0, 60.0), (60.0, 160.0), (200.0, 160.0)]
TOLERANCE = 2.0  # grid units: the mouse moves by whole pixels


def on_screen(page: Any, point: tuple[float, float]) -> tuple[float, float]:
    """A point of the 0..255 grid in pixels of the window."""
    left, top, width, height = page.execute_script(
        "const r = document.getElementById('view').getBoundingClientRect();"
        "return [r.left, r.top, r.width, r.height]"
    )
    return left + point[0] / 255 * width, top + point[1] / 255 * height


def mouse(page: Any, way: Points) -> None:
    """Press at the first point, drag over all others, let go at the last."""
    dense = [
        (a[0] + (b[0] - a[0]) * i / 6, a[1] + (b[1] - a[1]) * i / 6)
        for a, b in zip(way, way[1:], strict=False)
        for i in range(1, 7)
    ]
    for kind, points in (
        ("mousePressed", way[:1]),
        ("mouseMoved", dense),
        ("mouseReleased", way[-1:]),
    ):
        for point in points:
            x, y = on_screen(page, point)
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            page.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def finger(page: Any, way: Points) -> None:
    """The same with a touch."""

    def touch(kind: str, points: Points) -> None:
        places = [dict(zip("xy", on_screen(page, point), strict=True)) for point in points]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", way[:1])
    for a, b in zip(way, way[1:], strict=False):
        for i in range(1, 7):
            touch("touchMove", [(a[0] + (b[0] - a[0]) * i / 6, a[1] + (b[1] - a[1]) * i / 6)])
    touch("touchEnd", [])


def keys(page: Any, *names: str) -> None:
    for name in names:
        page.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", "key": name})
        page.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", "key": name})


def drawn(page: Any) -> Any:
    return np.array(page.execute_script("return molmoact.pen.points"), dtype=float)


def ready(page: Any, state: PageState) -> None:
    fill(state)
    wait(lambda: page.execute_script("return molmoact.stage.frame !== null"))


def sent(commands: Recorder) -> Any:
    wait(lambda: commands.drawn)
    return np.array(commands.drawn[-1].points)


@pytest.mark.parametrize("hand", [mouse, finger], ids=["mouse", "finger"])
def test_a_stroke_becomes_few_points_that_can_be_dragged_and_sent(
    page: Any, state: PageState, commands: Recorder, hand: Any
) -> None:
    """The whole way of a path: drawn, corrected, sent, and the picture is live again."""
    if hand is finger:
        size(page, 390, 844)
        if page.find_element("id", "pen-toggle").get_attribute("aria-pressed") == "false":
            press(page, "pen-toggle")
    ready(page, state)
    hand(page, STROKE)
    wait(lambda: page.find_element("id", "sketchbar").is_displayed())
    points = drawn(page)
    assert 3 <= len(points) <= 5
    assert np.allclose(points[[0, -1]], [STROKE[0], STROKE[-1]], atol=TOLERANCE)
    assert np.abs(points - STROKE[1]).sum(axis=1).min() < 2 * TOLERANCE, "the corner is kept"
    assert page.execute_script("return molmoact.stage.frozen")
    hand(page, [STROKE[-1], (220.0, 100.0)])
    assert len(drawn(page)) == len(points), "a point near the finger is moved, not added"
    assert np.allclose(drawn(page)[-1], (220.0, 100.0), atol=TOLERANCE)
    shown = drawn(page)
    press(page, "send")
    assert np.allclose(sent(commands), shown), "what was sent is what was seen"
    wait(lambda: not page.find_element("id", "sketchbar").is_displayed())
    assert not page.execute_script("return molmoact.stage.frozen")
    assert console(page) == []


def test_the_keyboard_alone_draws_and_sends(
    page: Any, state: PageState, commands: Recorder
) -> None:
    """Without a hand for a mouse the robot can be steered all the same."""
    ready(page, state)
    page.find_element("id", "instruction").clear()
    page.execute_script("document.getElementById('view').focus()")
    keys(page, "p", "ArrowUp", "ArrowUp", "p", "ArrowRight")
    assert np.allclose(drawn(page), [(127.5, 117.5), (144.5, 117.5)])
    keys(page, "Backspace", "p", "ArrowDown", "Enter")
    assert np.allclose(sent(commands), [(127.5, 117.5), (139.5, 122.5)])
    page.execute_script("document.getElementById('view').focus()")
    keys(page, "p", "p", "Escape")
    assert not page.execute_script("return molmoact.pen.drawing")
    assert len(commands.drawn) == 1


def test_the_preview_shows_the_line_of_training_pixel_for_pixel(
    page: Any, state: PageState
) -> None:
    """On the screen, not only on the wire: scaling or smoothing it would show another line."""
    ready(page, state)
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    state.put_image(Stream.EXTERNAL, noise, state.clock())
    wait(lambda: page.execute_script("return document.getElementById('external').width === 320"))
    points = [(20.0, 30.0), (120.5, 200.25), (230.0, 90.0)]
    page.execute_script(
        "const pen = molmoact.pen; pen.begin(); pen.points = arguments[0]; pen.changed(true)",
        points,
    )
    wanted = draw_trace(noise, np.array(points, np.float32))

    def shown() -> Any:
        url = page.execute_script("return document.getElementById('preview').toDataURL()")
        data = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    wait(lambda: np.array_equal(shown(), wanted))
    assert page.find_element("id", "seen").is_displayed()
    assert not np.array_equal(wanted, noise)


def test_a_plan_that_waits_is_approved_rethought_rejected_or_corrected(
    page: Any, state: PageState, commands: Recorder
) -> None:
    """Buttons and keys name the plan they are about: an answer to an older one moves nothing."""
    ready(page, state)
    state.set_policy(PolicyStatus("awaiting_approval", SUGGESTION, chunk_id=7, mode="review"))
    wait(lambda: page.find_element("id", "plan").is_displayed())
    assert "Plan 7" in text(page, "plan-title")
    for choice in ("approve", "rethink", "reject"):
        page.find_element("css selector", f"[data-review={choice}]").click()
    wait(lambda: len(commands.calls) == 3)
    page.execute_script("document.activeElement.blur()")
    state.set_policy(PolicyStatus("awaiting_approval", SUGGESTION, chunk_id=8, mode="review"))
    wait(lambda: "Plan 8" in text(page, "plan-title"))
    keys(page, "a", "r", "x")
    wait(lambda: len(commands.calls) == 6)
    choices = ["approve", "rethink", "reject"]
    assert commands.calls == [("review", plan, c) for plan in ("7", "8") for c in choices]
    mouse(page, STROKE)
    assert not page.find_element("id", "plan").is_displayed(), "the pen needs the picture"
    keys(page, "Escape")
    wait(lambda: page.find_element("id", "plan").is_displayed())


def scenes(state: PageState) -> dict[str, Any]:
    """Everything that lies over the page at one time or another."""
    stopped = CommandStatus("hold", enabled=False, reason="STOP was pressed")
    return {
        "empty": None,
        "moving": lambda page: None,
        "drawing": lambda page: page.execute_script("molmoact.pen.put(); molmoact.pen.put()"),
        "suggestions": lambda page: press(page, "more"),
        "plan": lambda page: state.set_policy(PolicyStatus("awaiting_approval", chunk_id=7)),
        "fault": lambda page: state.set_policy(PolicyStatus("fault", detail="word " * 60)),
        "stopped": lambda page: state.set_command(stopped),
        "steered": lambda page: state.set_sketch(STROKE),
        "recording": lambda page: state.set_recorder(
            RecorderStatus("recording", SUGGESTION, warnings=("the disk is nearly full",))
        ),
    }


@pytest.mark.parametrize(("width", "height"), [(1366, 757), (390, 844)])
def test_stop_lies_at_the_same_place_over_everything(
    page: Any, state: PageState, commands: Recorder, width: int, height: int
) -> None:
    """A hand finds STOP without eyes, whatever the page shows."""
    size(page, width, height)
    places = set()
    for name, show in scenes(state).items():
        if show:
            ready(page, state)
            show(page)
        wait(lambda: page.execute_script("return document.visibilityState === 'visible'"))
        x, y, hit = page.execute_script(
            "const r = document.getElementById('stop').getBoundingClientRect();"
            "const x = r.x + r.width / 2, y = r.y + r.height / 2;"
            "return [x, y, !!document.elementFromPoint(x, y)?.closest('#stop')]"
        )
        assert hit, f"{name}: something covers STOP"
        places.add((round(x), round(y)))
        before = commands.calls.count(("stop",))
        event = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            page.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **event})
        wait(lambda before=before: commands.calls.count(("stop",)) == before + 1)
        page.execute_script("molmoact.pen.drawing && molmoact.pen.discard()")
    assert len(places) == 1


def test_the_picture_stays_where_it_is_while_the_state_changes(
    page: Any, state: PageState, commands: Recorder
) -> None:
    """On a phone the state stands above the picture: it must not push it away under a finger."""
    size(page, 390, 844)
    title = page.find_element("id", "status-title")
    places = {title.text: on_screen(page, (0, 0))}
    ready(page, state)
    for phase in ("executing", "thinking", "awaiting_approval", "idle"):
        state.set_policy(PolicyStatus(phase, SUGGESTION, chunk_id=7))
        wait(lambda: title.text not in places)
        places[title.text] = on_screen(page, (0, 0))
    assert len(set(places.values())) == 1, places


@contextmanager
def somebody_drives(server: SteeringServer) -> Iterator[None]:
    """Another client that came first, in a thread with a loop of its own."""
    seated, done = threading.Event(), threading.Event()

    async def sit() -> None:
        async with open_page(server):
            seated.set()
            while not done.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(sit()), daemon=True)
    thread.start()
    assert seated.wait(10.0)
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=10.0)


def test_the_second_page_watches_may_not_draw_and_can_stop(
    browser: Any, server: SteeringServer, state: PageState, commands: Recorder
) -> None:
    """Two people on one arm is one too many; STOP belongs to everybody."""
    with somebody_drives(server):
        size(browser, 1440, 900)
        browser.get(server.url)
        wait(lambda: "Watching" in text(browser, "seat-words"))
        ready(browser, state)
        for name in ("start", "reset", "home"):
            assert not browser.find_element("id", name).is_enabled()
        mouse(browser, STROKE)
        wait(lambda: "You are watching" in text(browser, "toast"))
        assert not browser.find_element("id", "sketchbar").is_displayed()
        keys(browser, "p")
        assert not browser.execute_script("return molmoact.pen.drawing")
        press(browser, "seat-button")
        wait(lambda: "drives and acted" in text(browser, "toast"))
        press(browser, "stop")
        wait(lambda: ("stop",) in commands.calls)
    wait(lambda: "Nobody drives" in text(browser, "seat-words"))
    browser.get("about:blank")
    assert commands.calls == [("stop",)] and commands.drawn == []


def test_without_its_token_the_page_stays_closed(
    browser: Any, state: PageState, commands: Recorder
) -> None:
    token = "a-secret-of-this-test"
    with SteeringServer(state, commands, port=0, token=token) as server:
        right, bare = server.url, server.url.split("?")[0]
        for wrong in (bare, f"{bare}?token={token}x"):
            browser.delete_all_cookies()
            browser.get(wrong)
            assert "link-words" not in browser.page_source, wrong
        browser.get(right)
        wait(lambda: text(browser, "link-words") == "Connected")
        assert token not in browser.current_url, "a screen that is shown would show it"
        browser.get("about:blank")
    assert [m for m in console(browser) if "401" not in m] == []
