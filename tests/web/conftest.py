"""A real browser (Debian's Chromium, headless) and a page for the tests of this folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser_helpers import SUGGESTION, size, text, wait
from web_helpers import Recorder

from molmoact_ros.web.page import PageState
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import Session


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One for all tests: starting it takes longer than most of them."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium==4.49.0")
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver_path):
        pytest.skip("apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "window-size=1440,900", "hide-scrollbars",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
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
def page(browser: Any, server: SteeringServer) -> Iterator[Any]:
    size(browser, 1440, 900)
    browser.get_log("browser")  # what earlier tests provoked
    browser.get(server.url)
    wait(lambda: text(browser, "link-words") == "Connected")
    yield browser
    browser.get("about:blank")
