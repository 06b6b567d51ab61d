"""Streaming to a robot that forgives nothing: franka-sim with motion and communication limits.

    ./run shell python benchmarks/strict_streaming.py --setup     # once: its own environment
    ./run shell python benchmarks/strict_streaming.py --seconds 60

A rough random policy through commander and driver, and a smooth 15 Hz stream straight to the
driver. Writes benchmarks/results/strict_streaming.json. franka-sim listens on every address, so
it and its client run in a network namespace of their own (Linux, root or user namespaces).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from arm_bench import prefer

from molmoact_ros.control.command import Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.limits import Limits
from molmoact_ros.geometry import Pose
from molmoact_ros.robot.config import FrankyConfig
from molmoact_ros.robot.franky_arm import FrankyArm

HERE = Path(__file__).resolve()
RESULT = HERE.parent / "results" / "strict_streaming.json"
ENVIRONMENT = Path(os.environ.get("MOLMOACT_STRICT_VENV", HERE.parents[1] / ".venv-strict"))
PERIOD_S = 1.0 / 15.0
BOX = Limits(box_min_m=(0.35, -0.25, 0.25), box_max_m=(0.60, 0.25, 0.55), tilt_rad=0.5)
FLAGS = ("--no-gripper", "--enforce-comm-constraints", "--enforce-motion-limits")


def setup() -> None:
    """franka-sim pins an old numpy and runs with a new one; so it gets its own environment."""
    pip = [str(ENVIRONMENT / "bin" / "pip"), "install", "-q"]
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    subprocess.run([*pip, "franka-sim==1.1.7"], check=True)
    subprocess.run([*pip, "--no-deps", "franky-sim==1.0.4"], check=True)
    subprocess.run([*pip, "pin==4.1.0"], check=True)


def available() -> str:
    """Why the measurement cannot run here; "" when it can."""
    if not (ENVIRONMENT / "bin" / "run-franka-sim-server").is_file():
        return "no strict simulator; run: python benchmarks/strict_streaming.py --setup"
    tried = subprocess.run(["unshare", *_own_network(), "true"], capture_output=True)
    return "" if tried.returncode == 0 else "no network namespace for the strict simulator"


def measure(seconds: float) -> dict[str, dict[str, object]]:
    """Both streams, in a process of their own network. Raises CalledProcessError."""
    argv = ["unshare", *_own_network(), sys.executable, str(HERE), "--inside"]
    done = subprocess.run(
        [*argv, "--seconds", str(seconds)], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _own_network() -> list[str]:
    return ["--net"] if os.geteuid() == 0 else ["--map-root-user", "--net"]


def inside(seconds: float) -> dict[str, dict[str, object]]:
    _loopback_up()
    prefer(os.getpid())  # the server inherits it: both ends of a robot's cable run in real time
    model = Path("/tmp") / f"strict_fr3_{os.getpid()}.xml"
    python = str(ENVIRONMENT / "bin" / "python")
    # The environment of ./run would bring this one's packages into the other Python.
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([python, str(HERE.parent / "strict_fr3.py"), str(model)], check=True, env=clean)
    log = Path("/tmp") / f"strict_sim_{os.getpid()}.log"
    server = subprocess.Popen(
        [python, str(ENVIRONMENT / "bin" / "run-franka-sim-server"), *FLAGS],
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        env={**clean, "FR3_MJCF": str(model)},
    )
    try:
        _wait_for_port(1337, server, log)
        return {"rough": rough(seconds), "smooth": smooth(min(seconds, 20.0))}
    finally:
        server.terminate()
        try:
            server.wait(5.0)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        model.unlink()
        log.unlink()


def connected(limits: Limits) -> FrankyArm:
    # Light touch: a rough policy shakes the arm, and the simulator reports it as contact.
    config = FrankyConfig(gripper=False, collision_force_n=(40, 80), collision_torque_nm=(40, 80))
    arm = FrankyArm(config, limits)
    arm.start()
    end = time.monotonic() + 60.0
    while not arm.state().connected:
        if time.monotonic() > end:
            raise TimeoutError(arm.state().detail)
        time.sleep(0.05)
    if arm.state().errors:
        arm.recover().result(10.0)
    arm.home().result(60.0)
    arm.arm().result(10.0)
    while not arm.state().ready:  # the answer comes before the next reading
        time.sleep(0.01)
    return arm


def rough(seconds: float) -> dict[str, object]:
    """Chunks of correlated noise, a new one every four rows, as a nervous policy sends them."""
    arm, commander, rng = connected(BOX), Commander(BOX), np.random.default_rng(1)
    noise, lags, refused = np.zeros(6), [], 0
    reasons: list[str] = []
    start, next_think, was_ready, driving = time.monotonic(), 0.0, True, False
    try:
        while (elapsed := time.monotonic() - start) < seconds:
            state, now = arm.state(), time.time()
            commander.feed_measured(state.ee.position, state.ee.quaternion, state.stamp, now)
            commander.feed_arm_ready(state.ready, state.detail)
            if was_ready and not state.ready:
                reasons.append(state.detail)
            was_ready = state.ready
            if not driving and elapsed > 0.2:
                driving = commander.select_source(Source.POLICY, now) == ""
            if driving and elapsed >= next_think:
                next_think = elapsed + 4 * PERIOD_S
                rows = np.zeros((8, 7))
                for row in rows:
                    noise = 0.85 * noise + 0.5 * rng.normal(size=6) * ([0.012] * 3 + [0.04] * 3)
                    row[:6] = np.clip(noise, -0.03, 0.03)
                refused += commander.feed_chunk(rows, now, now, "rough") != ""
            command = commander.step(now)
            if command.pose is not None:
                refused += arm.set_reference(command.pose, command.twist) != ""
                lags.append(float(np.linalg.norm(command.pose.position - state.ee.position)))
            time.sleep(0.01)
    finally:
        arm.close()
    return {
        "seconds": seconds,
        "aborts": len(reasons),
        "reasons": reasons,
        "refused": int(refused),
        "lag_mm_rms": round(1e3 * float(np.sqrt(np.mean(np.square(lags)))), 1),
        "lag_mm_p99": round(1e3 * float(np.percentile(lags, 99)), 1),
        "recoveries": arm.state().recoveries,
    }


def smooth(seconds: float) -> dict[str, object]:
    """A Lissajous figure at 15 Hz, 5 cm/s, straight to the driver; distance to its line."""
    arm = connected(Limits())
    centre = arm.state().ee

    def at(t: float) -> np.ndarray:
        return centre.position + 0.06 * np.array(
            [np.sin(0.6 * t), np.sin(0.9 * t), 0.5 * np.sin(0.3 * t)]
        )

    line = np.array([at(t) for t in np.linspace(0.0, seconds, 4000)])
    errors, aborts, start = [], 0, time.monotonic()
    try:
        while (t := time.monotonic() - start) < seconds:
            refused = arm.set_reference(Pose(at(t), centre.quaternion))
            aborts += bool(refused)
            time.sleep(PERIOD_S)
            errors.append(float(np.linalg.norm(line - arm.state().ee.position, axis=1).min()))
    finally:
        arm.close()
    return {
        "seconds": seconds,
        "aborts": aborts,
        "rms_mm": round(1e3 * float(np.sqrt(np.mean(np.square(errors)))), 1),
        "max_mm": round(1e3 * max(errors), 1),
    }


def _loopback_up() -> None:
    """A new network namespace has its loopback switched off (ioctl SIOCSIFFLAGS, netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


def _wait_for_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """By /proc, not by connecting: the server takes one client only."""
    wanted, end = f":{port:04X} ", time.monotonic() + 90.0
    while wanted not in Path("/proc/self/net/tcp").read_text():
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the strict simulator did not start: {log.read_text()[-2000:]}")
        time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--setup", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    values = parser.parse_args()
    if values.inside:
        print(json.dumps(inside(values.seconds)))
        return 0
    if values.setup:
        setup()
    problem = available()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    result = measure(values.seconds)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
