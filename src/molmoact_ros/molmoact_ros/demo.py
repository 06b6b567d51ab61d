"""``molmoact demo``: the whole simulated robot on this machine, from a profile.

Starts the same processes as launch/demo.launch.py, because both read config/sim.yaml.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import urllib.request
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from molmoact_ros.processes import processes_of
from molmoact_ros.profile import Profile, ProfileError, load_profile, profile_argument
from molmoact_ros.supervisor import ProcessSpec, Supervisor

RUN_ENDED = "@@ run ended"
"""The watcher's word (nodes/watch_node.py) that the robot may stop while the film is drawn."""
PAGE_TIMEOUT_S = 60.0
FILM_TIMEOUT_S = 900.0
LOUD = ("[WARN]", "[ERROR]", "[FATAL]", "Traceback", "Error:")


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asked for; ``host`` is a loopback address for the simulated arm.

    arguments: of config/sim.yaml, name and value; they have the last word.
    """

    headless: bool
    seconds: float
    seed: int
    instruction: str
    policy: str | None
    out: Path
    host: str
    port: int
    domain: int
    browser: bool
    film: bool
    arguments: tuple[tuple[str, str], ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="NAME:=VALUE",
        help="arguments of config/sim.yaml, as for ros2 launch: teleop:=true record:=true",
    )
    parser.add_argument("--headless", action="store_true", help="no page; write films and files")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest headless run")
    parser.add_argument("--seed", type=int, default=0, help="scene: poses, colours, light")
    parser.add_argument(
        "--instruction", default="put the red cube on the plate", help="what the robot shall do"
    )
    parser.add_argument(
        "--policy", choices=("scripted", "molmoact"), help="who thinks; default: config/sim.yaml's"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for files and logs")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address of the arm")
    parser.add_argument("--port", type=int, default=8765, help="port of the page")
    parser.add_argument("--domain", type=int, default=None, help="ROS_DOMAIN_ID (default: yours)")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("--no-film", action="store_true", help="headless: score only")


def run(values: argparse.Namespace) -> int:
    """``molmoact demo``; the exit status."""
    try:
        return run_demo(options_from(values))
    except ProfileError as error:
        sys.stderr.write(f"molmoact: {error}\n")
        return 2


def options_from(values: argparse.Namespace) -> DemoOptions:
    domain = values.domain
    if domain is None:
        domain = int(os.environ.get("ROS_DOMAIN_ID", "0") or 0)
    return DemoOptions(
        headless=values.headless,
        seconds=values.seconds,
        seed=values.seed,
        instruction=values.instruction,
        policy=values.policy,
        out=values.out,
        host=values.host,
        port=values.port,
        domain=domain,
        browser=not values.no_browser and not values.headless,
        film=not values.no_film,
        arguments=tuple(profile_argument(text) for text in values.arguments),
    )


def demo_profile(options: DemoOptions) -> Profile:
    overrides = {
        "host": options.host,
        "seed": str(options.seed),
        "port": str(options.port),
        "instruction": "" if options.headless else options.instruction,
    }
    if options.policy is not None:
        overrides["policy"] = options.policy
    if options.headless:
        overrides |= {"steering": "false", "viewer": "false"}
    return load_profile("sim", overrides | dict(options.arguments))


def run_demo(options: DemoOptions) -> int:
    """Run until Ctrl-C, or headless until the task ends. Returns the exit status."""
    profile = demo_profile(options)
    options.out.mkdir(parents=True, exist_ok=True)
    watch = [sys.executable, "-m", "molmoact_ros.nodes.watch_node", "--host", options.host]
    if options.headless:
        watch += ["--headless", "--instruction", options.instruction, "--out", str(options.out)]
        watch += ["--seconds", str(options.seconds), "--seed", str(options.seed)]
        watch += [] if options.film else ["--no-film"]
        weights = str(profile.values["depth_weights"])
        watch += ["--depth-weights", weights] if weights else []
    os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    # Nothing of the demo leaves this machine, and software rendering takes one core, not all.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("LP_NUM_THREADS", "1")
    log_dir = options.out / "log"
    ended = threading.Event()
    say = _Listener(ended)
    robot = Supervisor(processes_of(profile.enabled_nodes), log_dir, say)
    watcher = Supervisor([ProcessSpec("watch", tuple(watch))], log_dir, say)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    names = ", ".join(node.name for node in profile.enabled_nodes)
    _print(f"starting {names}; logs in {log_dir}")
    status = 0
    try:
        robot.start()
        watcher.start()
        if not options.headless:
            threading.Thread(target=_open_page, args=(options, stop), daemon=True).start()
        status = _watch(robot, watcher, stop, ended, log_dir)
        if ended.is_set() and not stop.is_set():
            robot.stop()
            status = _wait_for_film(watcher, stop)
    finally:
        if stop.is_set():
            _print("stopping")
        watcher.stop()
        robot.stop()
    _print("stopped cleanly" if stop.is_set() else "done")
    return status


def _watch(
    robot: Supervisor,
    watcher: Supervisor,
    stop: threading.Event,
    ended: threading.Event,
    log_dir: Path,
) -> int:
    while not stop.is_set() and not ended.is_set():
        for spec, code in robot.deaths():
            _print(f"{spec.name} ended with code {code}: see {log_dir / spec.name}.log")
            if spec.critical and not spec.respawn:
                return 1
        for _, code in watcher.deaths():
            return code
        stop.wait(0.1)
    return 0


def _wait_for_film(watcher: Supervisor, stop: threading.Event) -> int:
    deadline = time.monotonic() + FILM_TIMEOUT_S
    while time.monotonic() < deadline and not stop.is_set():
        for _, code in watcher.deaths():
            return code
        stop.wait(0.1)
    return 1


class _Listener:
    """Shows the watcher's lines and everybody's warnings; notices the end of the run."""

    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended

    def __call__(self, name: str, line: str) -> None:
        if name == "watch":
            if line == RUN_ENDED:
                self._ended.set()
            else:
                _print(line)
        elif any(word in line for word in LOUD):
            _print(f"[{name}] {line}")


def _open_page(options: DemoOptions, stop: threading.Event) -> None:
    url = f"http://127.0.0.1:{options.port}/"
    deadline = time.monotonic() + PAGE_TIMEOUT_S
    while time.monotonic() < deadline and not stop.is_set():
        try:
            urllib.request.urlopen(f"{url}healthz", timeout=1.0).close()
        except OSError:
            stop.wait(0.3)
            continue
        _print(f"\n  open {url}   (Ctrl-C stops everything)\n")
        if options.browser and (os.environ.get("DISPLAY") or sys.platform == "darwin"):
            webbrowser.open(url)
        return
    if not stop.is_set():
        _print("the page did not come up: see steering.log")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
