"""Does one feel where one thought ends and the next begins? Velocity steps at seams and inside.

    ./run shell python benchmarks/seams.py

A policy follows a curve and thinks asynchronously for 0.2 to 2 s; the commander runs on a clock of
its own at 100 Hz, so the load of this machine does not matter. Chunks are as long as the thinking
needs. Writes benchmarks/results/seams.json and seams.png (speed over time, seams marked).
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from molmoact_ros.control.command import Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.limits import Limits
from molmoact_ros.geometry import Floats, Pose

RESULTS = Path(__file__).parent / "results"
DT, PERIOD_S = 0.01, 1.0 / 15.0
NOISE_M = 0.0003
START = Pose(np.array([0.45, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))


def curve(t: float) -> Floats:
    """Where the policy wants the tool, relative to the start: up to 10 cm/s."""
    return 0.08 * np.array([np.sin(1.0 * t), np.sin(0.7 * t), 0.5 * np.sin(0.5 * t)])


def run(thinking_s: float, seconds: float = 20.0) -> tuple[Floats, list[float]]:
    """Commanded twists [N, 3] at 100 Hz, and the times at which a new chunk was taken over."""
    # A policy that thinks for 2 s while the arm moves needs this parameter of the commander.
    limits = Limits(observation_age_s=thinking_s + 0.5)
    commander, rng = Commander(limits), np.random.default_rng(0)
    pose, now, twists, seams = START, 100.0, [], []
    rows_needed = int(np.ceil(thinking_s / PERIOD_S)) + 8
    thought: tuple[float, float] | None = None  # image time, ready time
    progress = 0.0
    for tick in range(round(seconds / DT)):
        now += DT
        commander.feed_measured(pose.position, pose.quaternion, now)
        command = commander.step(now)
        if command.pose is not None:
            pose = command.pose
        twists.append(command.twist[:3])
        if tick == 5:
            commander.select_source(Source.POLICY, now)
        if tick < 10:
            continue
        if thought is None:
            thought = now, now + thinking_s
            # The policy sees where the tool is and continues along the curve from there.
            progress = _nearest(pose.position - START.position, progress)
            image = pose.position - START.position
        elif now >= thought[1]:
            times = progress + PERIOD_S * np.arange(1, rows_needed + 1)
            path = np.array([image, *(curve(t) for t in times)])
            rows = np.zeros((rows_needed, 7))
            rows[:, :3] = np.diff(path, axis=0) + rng.normal(0.0, NOISE_M, (rows_needed, 3))
            rows[:, 6] = 1.0
            if commander.feed_chunk(rows, thought[0], now, "curve") == "":
                seams.append(len(twists) * DT)
            thought = None
    return np.array(twists), seams


def _nearest(point: Floats, since: float) -> float:
    times = since + np.linspace(0.0, 3.0, 301)
    return float(times[np.argmin([np.linalg.norm(curve(t) - point) for t in times])])


def changes(twists: Floats, seams: list[float]) -> tuple[Floats, Floats]:
    """Changes of velocity between two ticks, mm/s: within 3 rows after a seam, and inside."""
    change = 1e3 * np.linalg.norm(np.diff(twists, axis=0), axis=1)
    at_seam = np.zeros(len(change), dtype=bool)
    for seam in seams[1:]:
        first = round(seam / DT)
        at_seam[max(0, first - 1) : first + round(3 * PERIOD_S / DT)] = True
    inside = ~at_seam
    inside[: round(seams[0] / DT) + 50] = False  # the start from rest is neither
    return change[at_seam], change[inside]


def summary(change: Floats) -> dict[str, float]:
    p50, p99 = np.percentile(change, [50, 99])
    values = {"p50": p50, "p99": p99, "max": change.max()}
    return {name: round(float(value), 2) for name, value in values.items()}


def plot(curves: dict[float, tuple[Floats, list[float]]], path: Path) -> None:
    width, height = 1200, 170
    image = np.full((height * len(curves), width, 3), 255, np.uint8)
    for i, (thinking_s, (twists, seams)) in enumerate(curves.items()):
        base = height * (i + 1) - 20
        speed = np.linalg.norm(twists, axis=1)
        xs = np.linspace(0, width - 1, len(speed))
        for seam in seams:
            x = int(xs[min(len(xs) - 1, round(seam / DT))])
            cv2.line(image, (x, base - 130), (x, base), (255, 190, 120), 1)
        points = np.stack([xs, base - 1000 * speed], axis=1).astype(np.int32)
        cv2.polylines(image, [points], False, (40, 40, 40), 1, cv2.LINE_AA)
        text = f"thinking {thinking_s:g} s: commanded speed, 100 px = 0.1 m/s; lines are seams"
        cv2.putText(image, text, (8, base - 135), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1)
    cv2.imwrite(str(path), image)


def main() -> int:
    curves = {thinking_s: run(thinking_s) for thinking_s in (0.2, 0.5, 1.0, 2.0)}
    found = {key: changes(*value) for key, value in curves.items()}
    # Quick thinkers have a seam every few rows and no inside: it is taken from all together.
    inside = np.concatenate([inside for _, inside in found.values()])
    table: dict[str, object] = {"inside a chunk, mm/s": summary(inside)}
    for key, (seam, _) in found.items():
        name = f"at {len(curves[key][1]) - 1} seams, thinking {key:g} s, mm/s"
        table[name] = summary(seam)
    (RESULTS / "seams.json").write_text(json.dumps(table, indent=2) + "\n")
    plot(curves, RESULTS / "seams.png")
    print(json.dumps(table, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
