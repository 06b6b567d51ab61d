"""Measures a running simulated stack from outside: rates, ages, latencies, and truth of thoughts.

For benchmarks/loop.py and the tests. Ground truth comes from the simulator's shared memory; what
the robot's own nodes use is read from topics only.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import ChunkCommand, Reasoning
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from molmoact_ros.frames import UnknownTransform
from molmoact_ros.geometry import Camera
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.inputs import StaticFrames
from molmoact_ros.nodes.runtime import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS
from molmoact_ros.sim.shared import SnapshotError, SnapshotReader, snapshot_name

EXTERNAL = "/cameras/external"
TRUTH_PERIOD_S = 0.01
NEAREST_TRUTH_S = 0.05


@dataclass(frozen=True)
class LatencySplit:
    """Seconds of one thought. image_age: stamp to the start of thinking; thinking: the policy's
    own timings; acting: its end to the first command of the chunk."""

    image_age: float
    thinking: float
    acting: float


@dataclass(frozen=True)
class TrueThought:
    """A thought beside the truth of its image: the tool centre's pixel [2] and metres [H, W]."""

    thought: Reasoning
    tool_pixel: NDArray[np.float64]
    trace_start: NDArray[np.float64]
    depth: NDArray[np.float32]


class LoopMeter(Node):
    """Collects while it is spun; ``begin`` forgets what came before (start-up, first frames)."""

    def __init__(self, host: str) -> None:
        super().__init__("loop_meter")
        self._reader = SnapshotReader(snapshot_name(host))
        self._frames = StaticFrames(self)
        self._camera: Camera | None = None
        self.begin()
        subscribe = self.create_subscription
        root = f"{EXTERNAL}/color"
        subscribe(CameraInfo, f"{root}/camera_info", self._info, SENSOR_QOS)
        for name in ("external", "wrist"):
            topic = f"/cameras/{name}/color/image_raw"
            subscribe(Image, topic, lambda m, n=name: self._image(n, m), SENSOR_QOS)
        depth = f"{EXTERNAL}/aligned_depth_to_color/image_raw"
        subscribe(Image, depth, self._depth_image, SENSOR_QOS)
        subscribe(Reasoning, "policy/reasoning", self._reasoning, LATCHED_QOS)
        subscribe(ChunkCommand, "policy/chunk", self._chunk, COMMAND_QOS)
        subscribe(PoseStamped, "target_pose", self._target, COMMAND_QOS)
        self.create_timer(TRUTH_PERIOD_S, self._sample_truth)

    def begin(self) -> None:
        self.started = time.monotonic()
        self.image_ages: dict[str, list[float]] = defaultdict(list)
        self.image_stamps: dict[str, list[float]] = defaultdict(list)
        self.targets: list[float] = []
        self.splits: list[LatencySplit] = []
        self.true_thoughts: list[TrueThought] = []
        self.refused = self.thoughts = 0
        self._open: dict[int, tuple[float, float]] = {}  # chunk id -> image stamp, arrival
        self._timings: dict[int, float] = {}
        self._depths: dict[float, Image] = {}
        self._truth: list[tuple[float, NDArray[np.float64]]] = []

    def rate(self, name: str) -> float:
        """Frames a second by their stamps."""
        stamps = self.image_stamps[name]
        return (len(stamps) - 1) / (stamps[-1] - stamps[0]) if len(stamps) > 1 else 0.0

    def _sample_truth(self) -> None:
        try:
            snapshot = self._reader.read()
        except SnapshotError:
            return
        self._truth.append((snapshot.wall_ns * 1e-9, snapshot.tcp.position))
        if len(self._truth) > 5000:
            del self._truth[:2500]

    def _true_tool(self, stamp: float) -> NDArray[np.float64] | None:
        """The tool centre [3] at an image's stamp, base frame, between the nearest samples."""
        at = bisect_left(self._truth, stamp, key=lambda entry: entry[0])
        if at in (0, len(self._truth)):
            return None
        (t0, p0), (t1, p1) = self._truth[at - 1], self._truth[at]
        if t1 - t0 > NEAREST_TRUTH_S:
            return None
        return np.asarray(p0 + (p1 - p0) * (stamp - t0) / max(t1 - t0, 1e-9))

    def _info(self, message: CameraInfo) -> None:
        try:
            pose = self._frames.tree.lookup("fr3_link0", message.header.frame_id)
            self._camera = convert.camera_from(message, pose)
        except UnknownTransform:
            return  # the static transforms have not arrived yet

    def _image(self, name: str, message: Image) -> None:
        stamp = convert.seconds(message.header.stamp)
        self.image_stamps[name].append(stamp)
        self.image_ages[name].append(time.time() - stamp)

    def _depth_image(self, message: Image) -> None:
        self._depths[convert.seconds(message.header.stamp)] = message
        while len(self._depths) > 100:
            del self._depths[next(iter(self._depths))]

    def _reasoning(self, message: Reasoning) -> None:
        stamp = convert.seconds(message.header.stamp)
        self.thoughts += 1
        self.refused += bool(message.refused)
        self._timings[message.chunk_id] = sum(t.seconds for t in message.timings)
        tool = self._true_tool(stamp)
        depth = self._depths.get(stamp)
        if tool is None or depth is None or self._camera is None or not message.trace.points:
            return
        pixels, _ = self._camera.project(tool[None])
        start = message.trace.points[0]
        size = np.array([depth.width - 1, depth.height - 1])
        self.true_thoughts.append(
            TrueThought(
                message,
                pixels[0],
                np.array([start.x, start.y]) * size / 255.0,
                convert.depth_from(depth),
            )
        )

    def _chunk(self, message: ChunkCommand) -> None:
        if message.actions.rows:
            stamp = convert.seconds(message.header.stamp)
            self._open[message.chunk_id] = (stamp, time.time())

    def _target(self, message: PoseStamped) -> None:
        now = time.time()
        self.targets.append(now)
        for chunk, (stamp, arrived) in list(self._open.items()):
            thinking = self._timings.get(chunk)
            if thinking is not None:
                age = arrived - thinking - stamp
                self.splits.append(LatencySplit(age, thinking, now - arrived))
                del self._open[chunk]
