"""Does the soft corridor keep the tool on a drawn path? With it and without it, side by side.

    ./run shell python benchmarks/corridor.py            (about 2 minutes; no ROS, no simulator)

A path of 3 to 5 points is drawn on the picture of the simulation's external camera. A policy
follows it as far as a picture can tell it: in the image plane its rows are right but for noise,
along the line of sight they drift by a random walk with a random bias, which is what a
two-dimensional line leaves open. Its chunks of 8 rows run through the commander with all guards
and a perfect arm. The same noise is used with and without the corridor; its path is lifted from
depth with 3 mm of noise, as nodes/corridor_feed.py does it.

Error: distance of the tool from the path in the horizontal plane, while the tool is between its
ends. Prints mean, p95, the error at the end, and that of the height there, which the corridor
leaves alone. Writes benchmarks/results/corridor.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molmoact_ros.control.command import Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.corridor import Corridor, path_above
from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.sim.cameras import EXTERNAL

RESULTS = Path(__file__).parent / "results" / "corridor.json"
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
DT, PERIOD, ROWS, RETHINK = 0.02, 1 / 15, 8, 4
HEIGHT, SPEED = 0.06, 0.008
DRIFTS = (0.001, 0.002, 0.004)
WORDS = {"mean": "mean", "p95": "95 %", "end": "at the end", "height": "height at the end"}
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Noise:
    """Metres a row: in the picture's plane, along the line of sight (walk and bias)."""

    across: float = 0.001
    walk: float = 0.0001
    bias: float = 0.001


def drawn_path(rng: np.random.Generator) -> Floats:
    """3 to 5 points [N, 3] on the table, 8 cm or more apart."""
    points = [rng.uniform([0.38, -0.2], [0.46, 0.2])]
    while len(points) < 3 or (len(points) < 5 and rng.random() < 0.5):
        place = rng.uniform([0.36, -0.25], [0.64, 0.25])
        if 0.08 < np.linalg.norm(place - points[-1]) < 0.3:
            points.append(place)
    return np.column_stack([np.array(points), np.zeros(len(points))])


class Follower:
    """The noisy policy: rows [8, 7] along the true path from where the tool is seen."""

    def __init__(
        self, path: Floats, camera: Camera, noise: Noise, rng: np.random.Generator
    ) -> None:
        self._path, self._noise, self._rng = path, noise, rng
        self._eye = camera.base_from_optical[:3, 3]
        self._bias = rng.normal(0.0, noise.bias)
        self._goal = 1
        self.done = False

    def chunk(self, tool: Floats) -> Floats:
        """Along the path, with what a picture shows of the error corrected, and noise."""
        out = np.zeros((ROWS, 7))
        out[:, 6] = 1.0
        place = tool.copy()
        for row in range(ROWS):
            start, goal = self._path[self._goal - 1], self._path[self._goal]
            length = float(np.linalg.norm(goal - start))
            ahead = (goal - start) / length
            sight = (place - self._eye) / np.linalg.norm(place - self._eye)
            if (place - start) @ ahead > length - SPEED / 2:
                if self._goal == len(self._path) - 1:
                    self.done = True
                    break
                self._goal += 1
                continue
            off = start + ahead * ((place - start) @ ahead) - place
            off -= sight * (off @ sight)  # a picture does not show this part
            self._bias += self._rng.normal(0.0, self._noise.walk)
            delta = ahead * SPEED + 0.3 * off + self._rng.normal(0.0, self._noise.across, 3)
            delta += sight * self._bias
            out[row, :3] = delta
            place = place + delta
        return out


def run(seed: int, held: bool, noise: Noise, radius: float, pull: float) -> dict[str, float]:
    """One episode; metres."""
    rng = np.random.default_rng(seed)
    camera = EXTERNAL.camera(320, 240)
    surface = drawn_path(rng)
    path = path_above(surface, camera, HEIGHT)
    commander, now = Commander(period_s=PERIOD), 100.0
    if held:
        eye = camera.base_from_optical[:3, 3]
        sight = (surface - eye) / np.linalg.norm(surface - eye, axis=1, keepdims=True)
        measured = surface + sight * np.random.default_rng(seed).normal(0, 0.003, (len(path), 1))
        commander.set_corridor(Corridor(path_above(measured, camera, HEIGHT), radius, pull))
    true = Corridor(path, 0.0, 0.0)
    policy = Follower(path, camera, noise, rng)
    pose = Pose(path[0], DOWN)
    errors: list[float] = []
    way: list[Floats] = []
    for tick in range(int(25.0 / DT)):
        now += DT
        commander.feed_measured(pose.position, pose.quaternion, now)
        if tick == 3:
            commander.select_source(Source.POLICY, now)
        if tick > 5 and tick % round(RETHINK * PERIOD / DT) == 0 and not policy.done:
            commander.feed_chunk(policy.chunk(pose.position), now, now, "g")
        command = commander.step(now)
        if command.pose is not None:
            pose = command.pose
            errors.append(float(np.linalg.norm(true.off_path(pose.position))))
            way.append(pose.position)
    end = float(np.linalg.norm((way[-1] - path[-1])[:2]))
    high = float(abs(way[-1][2] - path[-1][2]))
    p95 = float(np.percentile(errors, 95))
    return {"mean": float(np.mean(errors)), "p95": p95, "end": end, "height": high}


def compare(episodes: int, noise: Noise, radius: float, pull: float) -> dict[str, Any]:
    """Means over episodes in millimetres, without and with."""
    out: dict[str, Any] = {}
    for name, held in (("without", False), ("with", True)):
        runs = [run(seed, held, noise, radius, pull) for seed in range(episodes)]
        out[name] = {key: 1000 * float(np.mean([one[key] for one in runs])) for key in WORDS}
    return out


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--episodes", type=int, default=20)
    options.add_argument("--radius", type=float, default=0.015, help="metres left to the policy")
    options.add_argument("--pull", type=float, default=0.004, help="most metres a row is bent")
    values = options.parse_args()
    print(f"{values.episodes} episodes, radius {values.radius} m, pull {values.pull} m a row")
    tables = []
    for drift in DRIFTS:
        noise = Noise(bias=drift, walk=drift / 10)
        table = compare(values.episodes, noise, values.radius, values.pull)
        tables.append({"noise": asdict(noise), "mm": table})
        print(f"\ndrift {1000 * drift:g} mm a row: off the path, mm     without      with")
        for key, words in WORDS.items():
            print(f"{words:>38} {table['without'][key]:9.1f} {table['with'][key]:9.1f}")
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"episodes": values.episodes, "radius_m": values.radius, "pull_m": values.pull}
    RESULTS.write_text(json.dumps(result | {"drifts": tables}, indent=2) + "\n")


if __name__ == "__main__":
    main()
