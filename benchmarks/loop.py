"""The loop of the simulated robot, measured while it works: rates, ages, latencies, CPU, truth.

    ./run shell python benchmarks/loop.py --seconds 60

Starts every process of config/sim.yaml but the watcher, gives one instruction after another and
prints the table in docs/architecture.md. Writes benchmarks/results/loop_<policy>.json. Run it on
an otherwise idle machine: what it measures is what this machine has left for the robot.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import rclpy
from molmoact_msgs.msg import ArmStatus
from molmoact_msgs.srv import StartInstruction
from rclpy.executors import SingleThreadedExecutor

from molmoact_ros.model.depth_codec import DepthCodec
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.loop_meter import LoopMeter
from molmoact_ros.nodes.runtime import LATCHED_QOS
from molmoact_ros.processes import processes_of
from molmoact_ros.profile import load_profile
from molmoact_ros.sim.control_channel import SimControl
from molmoact_ros.sim.tasks import FAMILIES, sample_instruction
from molmoact_ros.supervisor import Supervisor
from molmoact_ros.train.vqvae_report import spearman

RESULTS = Path(__file__).parent / "results"
NODES = ("sim_arm", "sim_cameras", "franka", "commander", "policy", "viewer", "steering")
TASK_S = 10.0


def percentiles(values: list[float], scale: float = 1e3) -> dict[str, float]:
    if not values:
        return {}
    p50, p99 = np.percentile(values, [50, 99]) * scale
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(max(values) * scale, 2)}


def truth(meter: LoopMeter) -> dict[str, object]:
    """How far thoughts start from the tool, and how well their depth ranks the rendered one."""
    thoughts = meter.true_thoughts
    if not thoughts:
        return {"thoughts": 0}
    off = [float(np.linalg.norm(t.trace_start - t.tool_pixel)) for t in thoughts]
    codec, ranks = DepthCodec.from_package(), []
    for t in thoughts[:: max(1, len(thoughts) // 50)]:
        codes = convert.codes_from(t.thought.depth)
        if codes is not None:
            ranks.append(spearman(codec.decode(codes), t.depth))
    p50, p99 = np.percentile(off, [50, 99])
    return {
        "thoughts": len(thoughts),
        "trace_start_px": {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(max(off), 2)},
        "depth_spearman": {
            "frames": len(ranks),
            "median": round(float(np.median(ranks)), 4) if ranks else None,
            "min": round(min(ranks), 4) if ranks else None,
        },
    }


def cpu(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {n: sum(p.cpu_times()[:2]) for n, p in processes.items()}


def measure(options: argparse.Namespace, stack: Supervisor) -> dict[str, object]:
    meter, executor = LoopMeter(options.host), SingleThreadedExecutor()
    executor.add_node(meter)
    arm = [ArmStatus()]
    meter.create_subscription(
        ArmStatus, "franka/status", lambda m: arm.__setitem__(0, m), LATCHED_QOS
    )
    starter = meter.create_client(StartInstruction, "policy/start")

    def spin(seconds: float, done=lambda: False) -> bool:  # type: ignore[no-untyped-def]
        end = time.monotonic() + seconds
        while time.monotonic() < end and not done():
            executor.spin_once(timeout_sec=0.05)
        return bool(done())

    if not spin(90.0, lambda: arm[0].armed and starter.service_is_ready()):
        raise SystemExit(f"the stack did not get ready: {arm[0].detail or 'no arm status'}")
    spin(3.0)
    processes = {n: psutil.Process(stack.pid(n)) for n in NODES}
    control = SimControl(options.host)
    control.stats()
    meter.begin()
    before, begin = cpu(processes), time.monotonic()
    for number in range(max(1, round(options.seconds / TASK_S))):
        words = sample_instruction(FAMILIES[number % len(FAMILIES)], options.seed)
        starter.call_async(StartInstruction.Request(instruction=words))
        spin(TASK_S)
    elapsed, after, sim = time.monotonic() - begin, cpu(processes), control.stats()
    gaps = [float(gap) for gap in np.diff(meter.targets)]
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "seconds": round(elapsed, 1),
        "simulation": {
            "ticks_per_second": round(sim["rate"], 1),
            "interval_ms": [round(v, 3) for v in sim["interval_ms"]],
            "work_ms": [round(v, 3) for v in sim["work_ms"]],
            "resyncs": sim["resyncs"],
        },
        "cameras": {
            name: {
                "hz": round(meter.rate(name), 2),
                "age_at_arrival_ms": percentiles(meter.image_ages[name]),
            }
            for name in ("external", "wrist")
        },
        "latency_ms": {
            "image_to_start_of_thinking": percentiles([s.image_age for s in meter.splits]),
            "thinking": percentiles([s.thinking for s in meter.splits]),
            "chunk_to_first_command": percentiles([s.acting for s in meter.splits]),
            "image_to_command_without_thinking": percentiles(
                [s.image_age + s.acting for s in meter.splits]
            ),
        },
        "commander": {
            "hz": round(1.0 / float(np.mean(gaps)), 2) if gaps else 0.0,
            "gap_ms": percentiles([g for g in gaps if g < 0.5]),
        },
        "cpu_cores": {n: round((after[n] - before[n]) / elapsed, 3) for n in NODES},
        "cpu_cores_total": round(sum(after[n] - before[n] for n in NODES) / elapsed, 3),
        "thoughts": {"published": meter.thoughts, "refused": meter.refused},
        "truth": truth(meter),
    }


def show(value: object, indent: int = 0) -> None:
    if not isinstance(value, dict):
        print(" " * indent + str(value))
        return
    for key, entry in value.items():
        if isinstance(entry, dict) and any(isinstance(v, dict) for v in entry.values()):
            print(" " * indent + f"{key}")
            show(entry, indent + 2)
        elif isinstance(entry, dict):
            words = "  ".join(f"{k} {v}" for k, v in entry.items())
            print(" " * indent + f"{key:<36}{words}")
        else:
            print(" " * indent + f"{key:<36}{entry}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--policy", default="scripted")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--host", default="127.0.4.1")
    parser.add_argument("--domain", type=int, default=62)
    options = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    for name in ("OMP_NUM_THREADS", "LP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    arguments = {"host": options.host, "policy": options.policy, "seed": str(options.seed)}
    profile = load_profile("sim", {**arguments, "port": "8790"})
    logs = Path(tempfile.mkdtemp(prefix="loop_"))
    stack = Supervisor(processes_of(profile.node(n) for n in NODES), logs, lambda name, line: None)
    rclpy.init()
    try:
        stack.start()
        result = {"policy": options.policy, **measure(options, stack)}
    finally:
        stack.stop()
        rclpy.try_shutdown()
    show(result)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"loop_{options.policy}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {path}; logs in {logs}")


if __name__ == "__main__":
    main()
