"""A scripted stylus steers the simulated robot: how often does the arm end where the line ends?

    ./run shell python benchmarks/steering.py --trials 40            (about 15 minutes)

Starts the stack of config/sim.yaml, headless. Every trial lays out a scene, puts the arm home,
gives an instruction and, while the arm moves, draws a random path of 2 to 5 points through
~/steer_trace (until cleared). Success: the tool, projected into the external picture, rests
within 6 units of the 0..255 grid (2.4 % of the picture's width) of the path's last point.
``--no-stroke`` gives the same instructions and targets without drawing: what chance would do.
Prints a table and writes benchmarks/results/steering_<policy>[_no_stroke].json.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import CommandStatus, PolicyStatus, Reasoning
from molmoact_msgs.srv import SelectSource, StartInstruction, SteerTrace
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sim_stack import default_domain, save, sim_stack
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.policy_operator import human_trace
from molmoact_ros.nodes.runtime import LATCHED_QOS, SENSOR_QOS
from molmoact_ros.reasoning.sketch import Sketch
from molmoact_ros.sim.cameras import EXTERNAL
from molmoact_ros.sim.control_channel import SimControl
from molmoact_ros.sim.tasks import FAMILIES, sample_instruction

CAMERA = EXTERNAL.camera(320, 240)
NEAR_GRID = 6.0
BOX_LOW, BOX_HIGH = np.array([0.36, -0.25]), np.array([0.64, 0.25])
SECONDS = 20.0
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Stylus(Node):
    """One person: starts instructions, draws paths, and looks where the tool is."""

    def __init__(self, host: str) -> None:
        super().__init__("stylus")
        self.control = SimControl(host)
        self.poses: list[tuple[float, Floats]] = []
        self.thoughts: list[Reasoning] = []
        self.status = PolicyStatus()
        self.why = ""
        self.create_subscription(PoseStamped, "current_pose", self._pose, SENSOR_QOS)
        self.create_subscription(Reasoning, "policy/reasoning", self.thoughts.append, LATCHED_QOS)
        self.create_subscription(PolicyStatus, "policy/status", self._status, LATCHED_QOS)
        self.create_subscription(CommandStatus, "commander/status", self._command, LATCHED_QOS)
        self.asked = {
            name: self.create_client(kind, name)
            for name, kind in (
                ("franka/disarm", Trigger),
                ("franka/recover", Trigger),
                ("franka/arm", Trigger),
                ("commander/reset", Trigger),
                ("commander/select_source", SelectSource),
                ("policy/start", StartInstruction),
                ("policy/cancel", Trigger),
                ("policy/steer_trace", SteerTrace),
            )
        }
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _command(self, message: CommandStatus) -> None:
        self.why = message.reason

    def _pose(self, message: PoseStamped) -> None:
        position = convert.pose_from(message.pose).position
        self.poses.append((convert.seconds(message.header.stamp), position))

    def _status(self, message: PolicyStatus) -> None:
        self.status = message

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def ask(self, name: str, request: Any = None) -> Any:
        client = self.asked[name]
        if not client.wait_for_service(timeout_sec=60.0):
            raise SystemExit(f"no {name} on this ROS domain")
        future = client.call_async(request or Trigger.Request())
        self._executor.spin_until_future_complete(future, timeout_sec=15.0)
        if not future.done():
            raise SystemExit(f"{name} did not answer")
        return future.result()

    def lay_out(self, seed: int, family: str) -> None:
        self.ask("policy/cancel")
        self.ask("franka/disarm")
        self.ask("franka/recover")
        self.wait(0.5)
        self.control.reset(seed, family, home=True)
        self.wait(0.5)
        self.ask("franka/arm")
        self.ask("commander/reset")
        answer = self.ask("commander/select_source", SelectSource.Request(source=1))
        assert answer.accepted, answer.message
        self.wait(1.0)

    def steer(self, points: Floats) -> None:
        sketch = Sketch(points.astype(np.float32), time.time())
        request = SteerTrace.Request(
            trace=human_trace(sketch, (CAMERA.width, CAMERA.height)),
            lifetime=SteerTrace.Request.UNTIL_CLEARED,
            preempt=True,
        )
        answer = self.ask("policy/steer_trace", request)
        assert answer.accepted, answer.message

    def at_rest(self) -> bool:
        # Longer than a thought on a busy machine: a pause between two chunks is no end.
        recent = [p for stamp, p in self.poses if stamp > self.poses[-1][0] - 2.0]
        return len(recent) > 10 and float(np.ptp(np.array(recent), axis=0).max()) < 0.002


def grid_of(places: Floats) -> Floats:
    return CAMERA.grid_from_pixels(CAMERA.project(np.atleast_2d(places))[0])


def path_from(start: Floats, rng: np.random.Generator) -> Floats:
    """Points [2..5, 2]: from the tool to random places at its height, all in the picture."""
    while True:
        corners = [start[:2]]
        for _ in range(int(rng.integers(1, 5))):
            corners.append(rng.uniform(BOX_LOW, BOX_HIGH))
        points = grid_of(np.array([[*corner, start[2]] for corner in corners]))
        far = np.linalg.norm(points[-1] - points[0]) > 40.0
        if far and (points > 4.0).all() and (points < 251.0).all():
            return points


def off_line(points: Floats, line: Floats) -> Floats:
    dense = np.concatenate([np.linspace(a, b, 100) for a, b in zip(line, line[1:], strict=False)])
    return np.linalg.norm(points[:, None] - dense[None], axis=2).min(axis=1)


def trial(stylus: Stylus, seed: int, stroke: bool) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    stylus.lay_out(seed, family)
    instruction = sample_instruction(family, seed)
    stylus.ask("policy/start", StartInstruction.Request(instruction=instruction))
    stylus.wait(float(rng.uniform(0.5, 2.0)))
    path = path_from(stylus.poses[-1][1], rng)
    stylus.thoughts.clear()
    drawn = time.monotonic()
    height = float(stylus.poses[-1][1][2])
    since = stylus.poses[-1][0]
    if stroke:
        stylus.steer(path)
    stylus.wait(2.0)
    while time.monotonic() - drawn < SECONDS and not stylus.at_rest():
        stylus.wait(0.1)
    places = np.array([place for stamp, place in stylus.poses if stamp > since + 0.5])
    seen = grid_of(places)
    steered = [t for t in stylus.thoughts if t.steered]
    result = {
        "seed": seed,
        "instruction": instruction,
        "points": len(path),
        "end_grid": round(float(np.linalg.norm(seen[-1] - path[-1])), 2),
        "line_grid": round(float(off_line(seen, path).mean()), 2),
        "height_mm": round(1e3 * float(places[-1][2] - height), 1),
        "seconds": round(time.monotonic() - drawn, 1),
        "steered_thoughts": len(steered),
    }
    result["success"] = result["end_grid"] <= NEAR_GRID
    if not result["success"]:
        result["why"] = stylus.why
    stylus.poses.clear()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--policy", default="scripted")
    parser.add_argument("--no-stroke", action="store_true")
    parser.add_argument("--host", default="127.0.4.1")
    parser.add_argument("--domain", type=int, default=default_domain(64))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with sim_stack({"host": options.host, "policy": options.policy}, options.domain) as check:
        stylus = Stylus(options.host)
        for seed in range(options.trials):
            row = trial(stylus, seed, not options.no_stroke)
            rows.append(row)
            print(f"{'ok  ' if row['success'] else 'FAIL'} {row}", flush=True)
            check()
    good = sum(row["success"] for row in rows)
    for key in ("end_grid", "line_grid", "seconds"):
        print(f"{key:<12} median {np.median([row[key] for row in rows]):.2f}")
    print(f"{options.policy}: {good}/{len(rows)} ended at the drawn target")
    save(f"steering_{options.policy}{'_no_stroke' if options.no_stroke else ''}", rows)


if __name__ == "__main__":
    main()
