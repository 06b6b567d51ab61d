"""What commander and driver cost between a decision and the arm, beside a bare franky script.

    ./run shell python benchmarks/arm_latency.py --ramps 60

Both ways send the same ramp (0.1 m/s sideways for four rows of 1/15 s) to the same simulated arm
while two cameras render and are looked at. Measured from the decision (the chunk's publication;
the script's own start) until the tool's true pose has moved one millimetre: the arm's inertia is in
both, their difference is what our layers add. Writes benchmarks/results/arm_latency.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import rclpy
from arm_bench import ArmBench, arm_bench, rows
from direct_franky import RAMP_S, REST_S, SPEED_M_S
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy

from molmoact_ros.nodes import convert
from molmoact_ros.sim.shared import SnapshotError, SnapshotReader, snapshot_name

HERE = Path(__file__).resolve().parent
MOVED_M = 1e-3
ROWS = 4
SAMPLE_S = 0.001


class Watcher(threading.Thread):
    """The tool's true path, read from the simulator's memory."""

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self._reader = SnapshotReader(snapshot_name(host))
        self._stop_asked = threading.Event()
        self.path: list[tuple[float, float]] = []

    def run(self) -> None:
        while not self._stop_asked.wait(SAMPLE_S):
            try:
                seen = self._reader.read()
            except SnapshotError:
                continue
            self.path.append((seen.wall_ns * 1e-9, float(seen.tcp.position[1])))

    def close(self) -> None:
        self._stop_asked.set()
        self.join()
        self._reader.close()

    def delay(self, begin: float, sign: float) -> float:
        """Seconds from ``begin`` until the tool moved a millimetre; infinity when it did not."""
        times, places = np.array(self.path).T
        start = places[np.searchsorted(times, begin) - 1]
        late = (times > begin) & (times < begin + RAMP_S + REST_S)
        moved = times[late][sign * (places[late] - start) > MOVED_M]
        return float(moved[0] - begin) if len(moved) else float("inf")


class Stamps:
    """Stamps of every state the driver publishes; a thread and a long queue of its own."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._node = rclpy.create_node("stamps")
        deep = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._node.create_subscription(PoseStamped, "current_pose", self._heard, deep)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _heard(self, message: PoseStamped) -> None:
        self.times.append(convert.seconds(message.header.stamp))

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()


def percentiles(values: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99]) * 1e3
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(max(values) * 1e3, 2)}


def through_ros(bench: ArmBench, watcher: Watcher, ramps: int) -> dict[str, object]:
    person = bench.person
    processes = [psutil.Process(bench.pid(name)) for name in ("commander", "franka")]
    before, began = [_cpu(p) for p in processes], time.monotonic()
    heard = Stamps()
    begins: list[tuple[float, float]] = []
    for number in range(ramps):
        sign = 1.0 if number % 2 == 0 else -1.0
        begins.append((time.time(), sign))
        person.think(rows(dy=sign * SPEED_M_S / 15.0, count=ROWS))
        person.listen(RAMP_S + REST_S)
    seconds = time.monotonic() - began
    heard.close()
    stamps = np.array(heard.times)
    used = [(_cpu(p) - b) / seconds for p, b in zip(processes, before, strict=True)]
    return {
        "delay_ms": percentiles([watcher.delay(*begin) for begin in begins]),
        "driver_gap_ms": percentiles(np.diff(stamps).tolist()),
        "driver_jitter_ms": percentiles(np.abs(np.diff(stamps) - 0.01).tolist()),
        "cores": {"commander": round(used[0], 3), "franka": round(used[1], 3)},
    }


def direct(host: str, watcher: Watcher, ramps: int) -> dict[str, object]:
    command = [sys.executable, str(HERE / "direct_franky.py"), host, str(ramps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told, gaps = [], list[float]()
        used = psutil.Process(process.pid)
        cpu, began = 0.0, 0.0
        for line in process.stdout:
            one = json.loads(line)
            began, told = began or one["begin"], [*told, (one["begin"], one["sign"])]
            gaps += one["gaps"]
            cpu = _cpu(used)
        seconds = time.time() - began
    if process.returncode or len(told) != ramps:
        raise SystemExit(f"the direct script ended with {process.returncode} after {len(told)}")
    return {
        "delay_ms": percentiles([watcher.delay(*begin) for begin in told]),
        "driver_gap_ms": percentiles(gaps),
        "driver_jitter_ms": percentiles([abs(gap - 0.01) for gap in gaps]),
        "cores": {"script": round(cpu / seconds, 3)},
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ramps", type=int, default=60)
    values = parser.parse_args()
    with arm_bench() as bench:
        for name in ("sim_cameras", "viewer"):
            bench.start(name)
        watcher = Watcher(bench.host)
        watcher.start()
        bench.person.listen(5.0)
        ours = through_ros(bench, watcher, values.ramps)
        for name in ("commander", "franka"):
            bench.kill(name)
        time.sleep(1.0)
        theirs = direct(bench.host, watcher, values.ramps)
        watcher.close()
    added = {
        key: round(ours["delay_ms"][key] - theirs["delay_ms"][key], 2)  # type: ignore[index]
        for key in ("p50", "p99")
    }
    result = {
        "machine": f"{platform.machine()}, {psutil.cpu_count()} cores",
        "ramps": values.ramps,
        "commander_and_driver": ours,
        "direct_franky": theirs,
        "added_delay_ms": added,
    }
    print(json.dumps(result, indent=1))
    (HERE / "results" / "arm_latency.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
