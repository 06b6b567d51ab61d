"""An operator's pen on the running robot: real browser, real nodes, simulated arm."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2, see ./run setup")
pytest.importorskip("franky_sim", reason="needs franky-sim, see requirements/sim.txt")
webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium==4.49.0")
sys.path.insert(0, str(Path(__file__).parent))
from molmoact_msgs.msg import CommandStatus, PolicyStatus, Reasoning, VisualTrace  # noqa: E402
from selenium.common.exceptions import ElementNotInteractableException  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from stack import SEED, Stack, stack  # noqa: E402

from molmoact_ros.nodes import convert  # noqa: E402
from molmoact_ros.nodes.runtime import LATCHED_QOS  # noqa: E402
from molmoact_ros.sim.cameras import EXTERNAL  # noqa: E402
from molmoact_ros.sim.control_channel import SimControl  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium-driver"),
]
NODES = ("sim_arm", "sim_cameras", "franka", "commander", "policy", "viewer", "steering")
CAMERA = EXTERNAL.camera(320, 240)
TASK = "put the red cube on the plate"
NEAR = 12.0  # units of the 0..255 grid
LOW = 0.12  # metres: cubes and fingers around them


class Operator:
    """A person at the page, and the topics that show what came of it."""

    def __init__(self, running: Stack, browser: webdriver.Chrome, url: str) -> None:
        self.robot, self.browser, self.url = running, browser, url
        self.person = running.person
        self.control = SimControl(running.host, timeout=10.0)
        self.traces: list[VisualTrace] = []
        self.person.create_subscription(
            VisualTrace, "policy/steering_trace", self.traces.append, LATCHED_QOS
        )

    def until(self, true: Callable[[], object], seconds: float = 60.0) -> bool:
        return self.person.wait(lambda: bool(true()), seconds)

    def script(self, code: str) -> object:
        return self.browser.execute_script(code)

    def press(self, name: str) -> None:
        self.browser.find_element("id", name).click()

    def begin(self, mode: str = "auto") -> None:
        """A fresh page, the arm reset and at home, the scene as at first, the task started."""
        self.browser.get(self.url)
        assert self.until(lambda: self.script("return window.molmoact?.stage.frame != null"))
        assert self.until(lambda: self.script("return document.body.dataset.seat") == "driving")
        self.press("reset")
        self.listen(0.5)
        self.press("home")
        assert self.until(lambda: "ome" in self.text("toast")), self.text("toast")
        # What an earlier test left on the plate would leave this one's policy nothing to do.
        self.control.reset(SEED, TASK)
        self.listen(1.0)
        self.person.thoughts.clear()
        self.person.poses.clear()
        self.browser.find_element("css selector", f"input[value={mode}]").click()
        box = self.browser.find_element("id", "instruction")
        box.clear()
        box.send_keys(TASK)
        # Right after the start of all nodes the policy may still be loading, which the page says.
        assert self.until(self.person.starter.service_is_ready, 90.0)
        self.press("start")
        self.until(lambda: self.person.thoughts or "is not there" in self.text("toast"))
        if not self.person.thoughts:
            self.press("start")
        assert self.until(lambda: self.person.thoughts), self.text("toast")

    def listen(self, seconds: float) -> None:
        self.person.listen(seconds)

    def text(self, name: str) -> str:
        return str(self.script(f"return document.getElementById('{name}').textContent"))

    def stroke(self, grid: list[tuple[float, float]], kind: str) -> list[list[float]]:
        """Draw through ``grid`` points with a mouse, finger or stylus; the page's own points."""
        view = self.browser.find_element("id", "view")
        box = view.rect
        way = [(box["x"] + x / 255 * box["width"], box["y"] + y / 255 * box["height"])
               for x, y in grid]  # fmt: skip
        for index, (x, y) in enumerate(way):
            self._point(kind, "down" if index == 0 else "move", x, y)
        self._point(kind, "up", *way[-1])
        return self.script("return window.molmoact.pen.points")  # type: ignore[return-value]

    def _point(self, kind: str, what: str, x: float, y: float) -> None:
        """One event of the DevTools protocol; a WebDriver action cannot be a stylus."""
        send = self.browser.execute_cdp_cmd
        if kind == "touch":
            name = {"down": "touchStart", "move": "touchMove", "up": "touchEnd"}[what]
            points = [] if what == "up" else [{"x": x, "y": y}]
            send("Input.dispatchTouchEvent", {"type": name, "touchPoints": points})
            return
        name = {"down": "mousePressed", "move": "mouseMoved", "up": "mouseReleased"}[what]
        held = {"button": "left", "buttons": 0 if what == "up" else 1, "clickCount": 1}
        send(
            "Input.dispatchMouseEvent",
            {"type": name, "x": x, "y": y, "pointerType": kind, **held},
        )

    def decide(self, choice: str) -> None:
        """Press a button of the plan, as soon as the page shows it; plans replace one another."""
        button = self.browser.find_element("css selector", f"[data-review={choice}]")

        def pressed() -> bool:
            try:
                button.click()
            except ElementNotInteractableException:
                return False
            return True

        assert self.until(lambda: button.is_displayed() and button.is_enabled() and pressed()), (
            self.state()
        )

    def send(self) -> None:
        self.until(lambda: self.browser.find_element("id", "send").is_enabled(), 5.0)
        self.press("send")

    def steered(self) -> list[Reasoning]:
        return [thought for thought in self.person.thoughts if thought.steered]

    def state(self) -> str:
        """What the nodes say of themselves, for the message of a failed assertion."""
        told = self.person
        return (
            f"tool at {[position for _, position in told.poses[-1:]]}; commander: "
            f"{told.command.reason!r}; policy, phase {told.policy.phase}: {told.policy.detail!r}; "
            f"arm: {told.arm.detail!r}; page: {self.text('toast')!r}"
        )

    def tool_on_grid(self) -> np.ndarray:
        assert self.until(lambda: self.person.poses), "no pose of the tool was published"
        pixels, _ = CAMERA.project(self.person.poses[-1][1][None])
        return CAMERA.grid_from_pixels(pixels)[0]

    def moved(self, seconds: float) -> float:
        since = time.time()
        self.listen(seconds)
        return self.person.moved(since)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                 "disable-background-networking", "window-size=1280,850"):  # fmt: skip
        options.add_argument(f"--{flag}")
    with stack(tmp_path_factory.mktemp("pen"), NODES, port=str(port)) as running:
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        person = Operator(running, browser, f"http://127.0.0.1:{port}/")
        try:
            yield person
        finally:
            browser.quit()
            person.control.close()


def stroke_from_tool(operator: Operator) -> list[tuple[float, float]]:
    """From the tool over the table, away from where the task wants to go.

    A path is followed at the height the tool then has; at 0.10 to 0.38 m these pixels lie within
    reach (``come_down``).
    """
    start = operator.tool_on_grid()
    places = np.array([[0.50, 0.00, 0.30], [0.55, 0.06, 0.30], [0.60, 0.08, 0.30]])
    corners = CAMERA.grid_from_pixels(CAMERA.project(places)[0])
    way = np.concatenate([np.linspace(a, b, 8) for a, b in
                          zip([start, *corners[:-1]], corners, strict=True)])  # fmt: skip
    return [(float(x), float(y)) for x, y in way]


def come_down(operator: Operator) -> None:
    """Wait until the arm has left its home, which is higher than a drawn path should be."""
    assert operator.until(
        lambda: operator.person.poses and operator.person.poses[-1][1][2] < 0.36
    ), operator.state()


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_a_stroke_changes_where_the_arm_goes(operator: Operator, kind: str) -> None:
    """From glass to arm: the thought carries the points of the page, the tool ends at the last."""
    for _ in range(3):
        operator.begin()
        come_down(operator)
        points = operator.stroke(stroke_from_tool(operator), kind)
        assert 2 <= len(points) <= 5
        assert operator.script("return window.molmoact.stage.frozen") is True
        operator.send()
        assert operator.until(operator.steered), operator.state()
        # On a busy machine the hand may be among the cubes by now: a path would drag it there.
        if operator.person.poses[-1][1][2] > LOW:
            break
    thought = operator.steered()[0]
    assert thought.trace.source == VisualTrace.SOURCE_HUMAN
    sent = convert.trace_points(thought.trace)
    assert np.allclose(sent, points, atol=1e-3)
    assert thought.depth.rows == 0 and thought.actions.rows == 8
    assert operator.until(lambda: operator.traces and operator.traces[-1].points)
    assert np.allclose(convert.trace_points(operator.traces[-1]), points, atol=1e-3)
    assert operator.person.policy.steering_active
    last = np.array(points[-1])
    assert operator.until(lambda: np.linalg.norm(operator.tool_on_grid() - last) < NEAR, 60.0), (
        f"{points}, the tool is at {operator.tool_on_grid()}; {operator.state()}"
    )
    assert operator.script("return window.molmoact.stage.frozen") is False
    operator.press("unsteer")
    count = len(operator.person.thoughts)
    assert operator.until(lambda: any(not t.steered for t in operator.person.thoughts[count:])), (
        "cleared, the policy must think for itself again"
    )
    assert operator.until(lambda: not operator.traces[-1].points)


def test_a_path_for_the_next_chunk_steers_just_that(operator: Operator) -> None:
    operator.begin()
    operator.stroke(stroke_from_tool(operator), "mouse")
    operator.browser.find_element("css selector", "input[value=next]").click()
    operator.send()
    assert operator.until(operator.steered), operator.state()
    first = operator.person.thoughts.index(operator.steered()[0])
    assert operator.until(lambda: len(operator.person.thoughts) > first + 3)
    assert [t.steered for t in operator.person.thoughts[first : first + 3]] == [True, False, False]


def test_nothing_moves_before_a_plan_is_approved(operator: Operator) -> None:
    operator.begin("review")
    waiting = PolicyStatus.AWAITING_APPROVAL
    assert operator.until(lambda: operator.person.policy.phase == waiting), operator.state()
    assert operator.until(lambda: operator.browser.find_element("id", "plan").is_displayed())
    assert operator.moved(2.0) < 0.003
    # A busy machine may make the arm hold between picture and approval; such a plan is not run
    # and the next one is asked for.
    for _ in range(5):
        plan, since = operator.person.policy.chunk_id, time.time()
        operator.decide("approve")
        assert operator.until(lambda p=plan: operator.person.policy.chunk_id > p), operator.state()
        if operator.person.moved(since) > 0.02:
            break
    told = sorted(operator.person.reasons)[-12:]
    assert operator.person.moved(since) > 0.02, f"approved chunks were to be run: {told}"
    assert operator.until(lambda: operator.person.policy.phase == waiting), operator.state()
    assert operator.moved(1.5) < 0.003, "every chunk is asked for"
    ActionChains(operator.browser).send_keys("x").perform()
    assert operator.until(lambda: operator.person.policy.phase == PolicyStatus.IDLE)
    assert "rejected" in operator.person.policy.detail


def test_drawing_on_a_plan_corrects_it(operator: Operator) -> None:
    operator.begin("review")
    waiting = PolicyStatus.AWAITING_APPROVAL
    assert operator.until(lambda: operator.person.policy.phase == waiting), operator.state()
    operator.stroke(stroke_from_tool(operator), "mouse")
    operator.send()
    assert operator.until(operator.steered), operator.state()
    assert operator.until(lambda: operator.person.policy.phase == waiting), operator.state()
    assert operator.person.policy.chunk_id == operator.steered()[-1].chunk_id
    operator.decide("reject")
    assert operator.until(lambda: operator.person.policy.phase == PolicyStatus.IDLE)


def test_stop_ends_a_steered_motion(operator: Operator) -> None:
    """STOP is pressed while the pen still draws the next path."""
    operator.begin()
    operator.stroke(stroke_from_tool(operator), "mouse")
    operator.send()
    assert operator.until(operator.steered)
    operator.stroke(stroke_from_tool(operator), "mouse")
    ActionChains(operator.browser).send_keys(" ").perform()
    assert operator.until(lambda: not operator.person.command.enabled)
    assert operator.person.command.source == CommandStatus.SOURCE_HOLD
    operator.listen(0.5)
    assert operator.moved(1.0) < 0.003
    assert operator.until(lambda: operator.person.policy.phase == PolicyStatus.IDLE)
    assert not operator.person.policy.steering_active


ROOT = Path(__file__).resolve().parents[2]
RVIZ_TYPES = {
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
}


def test_rviz_and_foxglove_show_topics_of_the_running_graph(operator: Operator) -> None:
    """A renamed topic leaves an empty window that nobody can explain."""
    graph = dict(operator.person.get_topic_names_and_types())
    layout = yaml.safe_load((ROOT / "config/molmoact.rviz").read_text())
    shown = [d for d in layout["Visualization Manager"]["Displays"] if d["Class"] in RVIZ_TYPES]
    assert len(shown) >= 4
    for display in shown:
        topic = display["Topic"]["Value"]
        assert graph.get(topic) == [RVIZ_TYPES[display["Class"]]], display["Name"]
        for sender in operator.person.get_publishers_info_by_topic(topic):
            # Asking for more than is offered shows nothing at all.
            reliable = sender.qos_profile.reliability.name == "RELIABLE"
            assert display["Topic"]["Reliability Policy"] == "Best Effort" or reliable
    foxglove = (ROOT / "config/molmoact.foxglove.json").read_text()
    topics = set(re.findall(r'"(/[a-z_]+(?:/[a-z_]+)+|/diagnostics)"', foxglove))
    assert json.loads(foxglove) and len(topics) >= 6
    assert topics <= set(graph), topics - set(graph)
