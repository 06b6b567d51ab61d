"""The page in a real browser (Debian's Chromium, headless): what an operator sees and presses."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from web_helpers import Recorder

from molmoact_ros.web.page import PageState, Stream
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import (
    ArmStatus,
    CommandStatus,
    PolicyStatus,
    Session,
    ThoughtView,
)

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium==4.49.0")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver"
)
SUGGESTION = "put the red cube on the plate"


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "window-size=1440,900",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def state() -> PageState:
    return PageState(Session("random weights", "a test", (SUGGESTION,), can_new_scene=True))


@pytest.fixture
def commands() -> Recorder:
    return Recorder()


@pytest.fixture
def server(state: PageState, commands: Recorder) -> Iterator[SteeringServer]:
    with SteeringServer(state, commands, port=0) as running:
        yield running


@pytest.fixture
def page(browser: webdriver.Chrome, server: SteeringServer) -> Iterator[webdriver.Chrome]:
    size(browser, 1440, 900)
    browser.get(server.url)
    wait(lambda: text(browser, "link-words") == "Connected")
    yield browser
    browser.get("about:blank")


def size(browser: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 900}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def text(browser: webdriver.Chrome, name: str) -> str:
    return str(browser.execute_script(f"return document.getElementById('{name}').textContent"))


def press(browser: webdriver.Chrome, name: str) -> None:
    browser.find_element("id", name).click()


def wait(true: Callable[[], object]) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("waited 10 s for something that did not happen")


def console(browser: webdriver.Chrome) -> list[str]:
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


def test_the_page_opens_without_a_complaint_and_says_what_is_missing(
    page: webdriver.Chrome,
) -> None:
    """A blocked script or style shows in the console before it shows to an operator."""
    assert text(page, "thinker") == "random weights"
    assert page.find_element("id", "external-empty").is_displayed()
    assert "No thought yet" in text(page, "thoughts-empty")
    assert text(page, "status-title") == "Waiting for the policy"
    assert console(page) == []


def test_a_moment_is_shown_in_words_numbers_and_lines(
    page: webdriver.Chrome, state: PageState
) -> None:
    """What the model wants must be where it wants it: cyan at the trace's own points."""
    fill(state)
    wait(lambda: not page.find_element("id", "external-empty").is_displayed())
    wait(lambda: text(page, "status-title") == "Moving")
    wait(lambda: text(page, "chunk-row") == "row 3 of 8")
    bars = text(page, "chunk-bars")
    assert all(words in bars for words in ("+10.0 mm", "−4.9 mm", "+1.0 °", "open"))
    wait(lambda: "#7" in text(page, "thoughts") and "0.60 s" in text(page, "thoughts"))
    red, green, blue, alpha = page.execute_script(
        "const c = document.getElementById('overlay'), x = c.getContext('2d');"
        "return [...x.getImageData(c.width * 0.7, c.height * 0.5, 1, 1).data]"
    )
    assert alpha > 200 and blue > 150 and green > 130 and red < 60
    press(page, "show-trace")
    wait(
        lambda: (
            page.execute_script(
                "const c = document.getElementById('overlay'), x = c.getContext('2d');"
                "return x.getImageData(c.width * 0.7, c.height * 0.5, 1, 1).data[3]"
            )
            == 0
        )
    )
    assert page.find_element("id", "show-trace").get_attribute("aria-pressed") == "false"
    assert console(page) == []


def test_the_stop_button_stops_once(page: webdriver.Chrome, commands: Recorder) -> None:
    press(page, "stop")
    assert commands.stopped.wait(10.0)
    wait(lambda: text(page, "toast") == "stop done")
    assert commands.calls == [("stop",)]


def test_space_stops_everywhere_but_in_the_text_box(
    page: webdriver.Chrome, commands: Recorder
) -> None:
    """Space on a focused Start button must stop, not start; in the box it is a space."""
    box = page.find_element("id", "instruction")
    box.send_keys("pick up")
    assert not commands.calls and box.get_attribute("value") == "pick up"
    page.find_element("id", "reset").send_keys(" ")
    assert commands.stopped.wait(10.0)
    wait(lambda: text(page, "toast") == "stop done")
    assert commands.calls == [("stop",)]


def test_an_instruction_starts_in_the_chosen_mode(
    page: webdriver.Chrome, commands: Recorder
) -> None:
    press(page, "more")
    page.find_element("css selector", "#suggestions button").click()
    assert page.find_element("id", "instruction").get_attribute("value") == SUGGESTION
    page.find_element("css selector", "input[value=shadow]").click()
    press(page, "start")
    wait(lambda: commands.calls)
    assert commands.calls == [("start", SUGGESTION, "shadow")]
    wait(lambda: text(page, "toast") == "start done")


def test_start_without_an_instruction_moves_nothing(
    page: webdriver.Chrome, commands: Recorder
) -> None:
    """The grey example in the empty box is not an instruction."""
    press(page, "start")
    wait(lambda: "Type what the robot should do" in text(page, "toast"))
    assert commands.calls == []


def test_a_lost_connection_is_said_and_stop_still_tries(
    page: webdriver.Chrome, server: SteeringServer, state: PageState
) -> None:
    """A frozen picture that looks live is worse than none."""
    fill(state)
    wait(lambda: text(page, "status-title") == "Moving")
    server.close()
    wait(lambda: page.find_element("id", "banner").is_displayed())
    assert "may still move" in text(page, "banner")
    assert text(page, "status-title") == "Unknown"
    assert not page.find_element("id", "start").is_enabled()
    assert page.find_element("id", "stop").is_enabled()
    press(page, "stop")
    wait(lambda: "emergency stop" in text(page, "toast"))


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768), (768, 1024), (390, 844)])
def test_every_screen_holds_it_and_every_target_is_large(
    page: webdriver.Chrome, state: PageState, width: int, height: int
) -> None:
    """Tablet and phone: nothing beside the screen, fingers hit, STOP at the lower right."""
    fill(state)
    size(page, width, height)
    wait(lambda: text(page, "chunk-row") == "row 3 of 8")
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    small = page.execute_script(
        "return [...document.querySelectorAll('button, input:not([type=radio]), .mode span')]"
        ".filter(e => e.offsetParent).map(e => [e.id || e.textContent, e.getBoundingClientRect()])"
        ".filter(([, r]) => r.width < 44 || r.height < 44).map(([name]) => name)"
    )
    assert small == []
    box = page.execute_script(
        "const r = document.getElementById('stop').getBoundingClientRect();"
        "return [innerWidth - r.right, innerHeight - r.bottom]"
    )
    assert 0 <= box[0] < 32 and 0 <= box[1] < 32
