"""The page in a real browser (Debian's Chromium, headless): what an operator sees and presses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser_helpers import SUGGESTION, console, fill, press, size, text, wait
from web_helpers import Recorder

from molmoact_ros.web.page import PageState
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import RecorderStatus, Session, ThoughtView, TrainingStatus


def test_the_page_opens_without_a_complaint_and_says_what_is_missing(
    page: Any,
) -> None:
    """A blocked script or style shows in the console before it shows to an operator."""
    assert text(page, "thinker") == "random weights"
    assert page.find_element("id", "external-empty").is_displayed()
    assert "No thought yet" in text(page, "thoughts-empty")
    assert text(page, "status-title") == "Waiting for the policy"
    assert console(page) == []


def test_a_moment_is_shown_in_words_numbers_and_lines(page: Any, state: PageState) -> None:
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


def test_the_stop_button_stops_once(page: Any, commands: Recorder) -> None:
    press(page, "stop")
    assert commands.stopped.wait(10.0)
    wait(lambda: text(page, "toast") == "stop done")
    assert commands.calls == [("stop",)]


def test_space_stops_everywhere_but_in_the_text_box(page: Any, commands: Recorder) -> None:
    """Space on a focused Start button must stop, not start; in the box it is a space."""
    box = page.find_element("id", "instruction")
    box.send_keys("pick up")
    assert not commands.calls and box.get_attribute("value") == "pick up"
    page.find_element("id", "reset").send_keys(" ")
    assert commands.stopped.wait(10.0)
    wait(lambda: text(page, "toast") == "stop done")
    assert commands.calls == [("stop",)]


def test_an_instruction_starts_in_the_chosen_mode(page: Any, commands: Recorder) -> None:
    press(page, "more")
    page.find_element("css selector", "#suggestions button").click()
    assert page.find_element("id", "instruction").get_attribute("value") == SUGGESTION
    page.find_element("css selector", "input[value=shadow]").click()
    press(page, "start")
    wait(lambda: commands.calls)
    assert commands.calls == [("start", SUGGESTION, "shadow")]
    wait(lambda: text(page, "toast") == "start done")


def test_start_without_an_instruction_moves_nothing(page: Any, commands: Recorder) -> None:
    """The grey example in the empty box is not an instruction."""
    press(page, "start")
    wait(lambda: "Type what the robot should do" in text(page, "toast"))
    assert commands.calls == []


def test_a_lost_connection_is_said_and_stop_still_tries(
    page: Any, server: SteeringServer, state: PageState
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


def test_a_new_thought_is_added_and_the_old_ones_stay(page: Any, state: PageState) -> None:
    """A list that is built anew with every thought fades in and out and cannot be read."""
    fill(state)
    wait(lambda: page.find_elements("css selector", "#thoughts li"))
    page.execute_script("document.querySelector('#thoughts li').dataset.kept = 'yes'")
    added = (
        "return window.added ??= new MutationObserver(list => window.moved = (window.moved ?? 0)"
    )
    page.execute_script(added + " + list.reduce((sum, one) => sum + one.addedNodes.length, 0));")
    page.execute_script(
        "window.added.observe(document.getElementById('thoughts'), {childList: true})"
    )
    timings = {"prepare": 0.01, "encode": 0.1, "generate": 0.5, "depth": 0.2, "parse": 0.01}
    state.add_thought(ThoughtView(8, state.clock(), SUGGESTION, timings=timings))
    wait(lambda: len(page.find_elements("css selector", "#thoughts li")) == 2)
    numbers = page.find_elements("css selector", "#thoughts .number")
    wait(lambda: [number.text for number in numbers] == ["#8", "#7"])  # it fades in
    assert page.execute_script("return window.moved") == 1
    assert page.find_elements("css selector", "#thoughts li[data-kept=yes]")
    legend = [span.text for span in page.find_elements("css selector", "#legend span")]
    assert legend == ["encode", "generate", "depth", "other"], "the longest by name, in order"


SCREENS = [
    (1440, 900), (1366, 757), (1024, 768), (820, 1180), (768, 1024), (390, 844), (844, 390),
]  # fmt: skip


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_every_screen_holds_it_and_every_target_is_large(
    page: Any, state: PageState, width: int, height: int
) -> None:
    """Tablet and phone: nothing beside the screen, fingers hit, STOP at the lower right.

    Also with everything that comes on top: a recorder with a warning, a hand on the page.
    """
    fill(state)
    size(page, width, height)
    wait(lambda: text(page, "chunk-row") == "row 3 of 8")
    assert_fits(page)
    state.set_session(Session("a model", "a test", has_teleop=True, can_new_scene=True))
    warning = "the disk is full in 12 minutes"
    state.set_recorder(RecorderStatus("recording", SUGGESTION, warnings=(warning,)))
    state.set_training(TrainingStatus(True, 120, 6000, 4300.0, 1.234))
    wait(lambda: page.find_element("id", "jog").is_displayed() and text(page, "rec-warning"))
    wait(lambda: page.find_element("id", "train-stop").is_displayed())
    assert_fits(page)


def test_fine_tuning_is_started_watched_and_stopped(
    page: Any, state: PageState, commands: Recorder
) -> None:
    assert not page.find_element("id", "train").is_displayed(), "no trainer, no buttons"
    state.set_training(TrainingStatus())
    wait(lambda: page.find_element("id", "train-start").is_displayed())
    assert text(page, "train-words") == "ready"
    press(page, "train-start")
    wait(lambda: ("train", "start") in commands.calls)
    state.set_training(TrainingStatus(True, 120, 6000, 4300.0, 1.234))
    wait(lambda: text(page, "train-words") == "step 120 of 6000 · 72 min left · loss 1.234")
    wait(lambda: page.find_element("id", "train-stop").is_displayed())
    assert not page.find_element("id", "train-start").is_displayed()
    press(page, "train-stop")
    wait(lambda: ("train", "stop") in commands.calls)
    state.set_training(TrainingStatus(False, 121, 6000, message="saved at step 121"))
    wait(lambda: text(page, "train-end") == "saved at step 121")
    wait(lambda: page.find_element("id", "train-start").is_displayed())
    state.set_training(None)
    wait(lambda: not page.find_element("id", "train").is_displayed())


def assert_fits(page: Any) -> None:
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    small = page.execute_script(
        "return [...document.querySelectorAll('button, input:not([type=radio]), .mode span')]"
        ".filter(e => e.offsetParent).map(e => [e.id || e.textContent, e.getBoundingClientRect()])"
        ".filter(([, r]) => r.width < 44 || r.height < 44).map(([name]) => name)"
    )
    assert small == []
    outside = page.execute_script(
        "return [...document.querySelectorAll('.card button')].filter(e => e.offsetParent &&"
        " e.getBoundingClientRect().right > e.closest('.card').getBoundingClientRect().right)"
        ".map(e => e.textContent)"
    )
    assert outside == []
    box = page.execute_script(
        "const r = document.getElementById('stop').getBoundingClientRect();"
        "return [innerWidth - r.right, innerHeight - r.bottom]"
    )
    assert 0 <= box[0] < 32 and 0 <= box[1] < 32


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1440, 900), (1366, 757), (1024, 768)])
@pytest.mark.parametrize("drawing", [False, True], ids=["watching", "drawing"])
def test_a_wide_screen_shows_everything_without_scrolling(
    page: Any, state: PageState, width: int, height: int, drawing: bool
) -> None:
    """What slides under the commands is not seen in the second in which it matters."""
    fill(state)
    size(page, width, height)
    wait(lambda: text(page, "chunk-row") == "row 3 of 8")
    wait(lambda: page.execute_script("return molmoact.stage.frame !== null"))
    if drawing:
        page.execute_script("molmoact.pen.put(); molmoact.pen.put();")
    hidden = page.execute_script(
        "const floor = document.querySelector('.dock').getBoundingClientRect().top;"
        "return [...document.querySelectorAll('.view, .tools, .small, .card, .send')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().bottom > floor)"
        ".map(e => e.id || e.className)"
    )
    assert hidden == []
    assert page.execute_script("return document.documentElement.scrollHeight <= innerHeight")
