"""Two simulated RealSense cameras: renders what the physics process publishes in shared memory.

Topic names, encodings and QoS are those of realsense2_camera 4.58 with ``align_depth.enable``
(external, a D435) and of a D405 (wrist); stamps are the wall clock of the rendered physics step.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, qos_profile_system_default
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import OK, TF_STATIC_QOS, WARN, ManagedNode, SetupError, run
from molmoact_ros.sim.cameras import CameraSetup
from molmoact_ros.sim.control_channel import SimControl, SimControlError
from molmoact_ros.sim.layout import SceneSpec, scene_spec
from molmoact_ros.sim.renderer import CameraFrame, SceneRenderer
from molmoact_ros.sim.shared import Snapshot, SnapshotError, SnapshotReader, snapshot_name

START_UP_S = 10.0
FARTHEST_M = 10.0
"""Beyond a D435's range the sensor reports 0 (unknown)."""


@dataclass(frozen=True)
class CameraTopics:
    """The publishers of one camera; ``depth`` is None for a camera without aligned depth."""

    color: Publisher
    color_info: Publisher
    depth: Publisher
    depth_info: Publisher


class SimCamerasNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("sim_cameras")
        self.declare("host", "127.0.0.1", "loopback address of the simulated robot")
        self.declare("width", 320, "pixels", (64, 1280))
        self.declare("height", 240, "pixels", (48, 720))
        self.declare("rate_hz", 10.0, "frames a second of each camera", (0.5, 60.0))
        self.declare(
            "mount_jitter", 0.0, "1: every scene's cameras hang up to 4 cm elsewhere", (0.0, 3.0)
        )
        self.declare("namespace", "/cameras", "namespace of both cameras, as in the real driver")
        self.declare("base_frame", "fr3_link0", "frame the external camera is bolted to")
        self.declare("hand_frame", "fr3_hand", "frame the wrist camera is bolted to")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = "no frame yet"
        self._frames = 0

    def setup(self) -> None:
        host = str(self.value("host"))
        try:
            self._reader = SnapshotReader(snapshot_name(host))
            self._control = SimControl(host)
        except ValueError as error:
            raise SetupError(f"parameter host: {error}") from error
        root = str(self.value("namespace")).rstrip("/")
        qos = QoSProfile(depth=10)
        self._topics = {
            name: CameraTopics(
                self.create_publisher(
                    Image, f"{root}/{name}/color/image_raw", qos_profile_system_default
                ),
                self.create_publisher(CameraInfo, f"{root}/{name}/color/camera_info", qos),
                self.create_publisher(
                    Image,
                    f"{root}/{name}/aligned_depth_to_color/image_raw",
                    qos_profile_system_default,
                ),
                self.create_publisher(
                    CameraInfo, f"{root}/{name}/aligned_depth_to_color/camera_info", qos
                ),
            )
            for name in ("external", "wrist")
        }
        self._transforms = self._static_publisher()
        self.create_service(Trigger, "~/reset_scene", self._reset_scene)

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._render_loop, name="renderer", daemon=True)
        self._thread.start()

    def halt(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if self._trouble:
            return WARN, self._trouble, {"frames": self._frames}
        return OK, "cameras deliver", {"frames": self._frames}

    def _static_publisher(self) -> Publisher | None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self.get_logger().warning("tf2_msgs is missing: no /tf_static; run ./run setup")
            return None
        return self.create_publisher(TFMessage, "/tf_static", TF_STATIC_QOS)

    def _reset_scene(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        try:
            seed = self._reader.read().header.seed + 1
            self._control.reset(seed)
        except (SnapshotError, SimControlError) as error:
            response.message = str(error)
            return response
        response.success, response.message = True, f"new scene, seed {seed}"
        return response

    # The renderer's thread owns the OpenGL context.

    def _render_loop(self) -> None:
        period = 1.0 / float(self.value("rate_hz"))
        renderer: SceneRenderer | None = None
        spec: SceneSpec | None = None
        generation = -1
        due = begin = time.monotonic()
        while not self._stop.is_set():
            try:
                snapshot = self._reader.read()
            except SnapshotError as error:
                # Both processes start at once; the physics needs some seconds.
                if self._frames or time.monotonic() - begin > START_UP_S:
                    self._complain(str(error))
                self._stop.wait(0.2)
                continue
            if snapshot.generation != generation or spec is None:
                jitter = float(self.value("mount_jitter"))
                spec = scene_spec(snapshot.header.seed, camera_jitter=jitter)
                generation = snapshot.generation
                self._publish_transforms(spec)
            if renderer is None:
                try:
                    renderer = SceneRenderer(
                        spec, int(self.value("width")), int(self.value("height"))
                    )
                except RuntimeError as error:
                    self._complain(str(error))
                    self._stop.wait(2.0)
                    continue
            self._publish(snapshot, renderer.render(snapshot.qpos, spec), spec)
            due = max(due + period, time.monotonic())
            self._stop.wait(max(0.0, due - time.monotonic()))
        if renderer is not None:
            renderer.close()

    def _publish(self, snapshot: Snapshot, frames: dict[str, CameraFrame], spec: SceneSpec) -> None:
        stamp = Time(sec=snapshot.wall_ns // 10**9, nanosec=snapshot.wall_ns % 10**9)
        for setup in (spec.external, spec.wrist):
            frame, topics = frames[setup.name], self._topics[setup.name]
            header = Header(stamp=stamp, frame_id=setup.frame_id)
            info = convert.camera_info_message(frame.camera, header)
            # Info and depth first: whoever waits for the colour image finds the rest there.
            topics.color_info.publish(info)
            topics.depth_info.publish(info)
            if topics.depth.get_subscription_count():
                topics.depth.publish(
                    convert.image_message(_millimetres(frame.depth), "16UC1", header)
                )
            topics.color.publish(convert.image_message(frame.rgb, "rgb8", header))
        self._frames += 1
        self._trouble = ""

    def _publish_transforms(self, spec: SceneSpec) -> None:
        if self._transforms is None:
            return
        message = self._transforms.msg_type()
        mounts = {"base": self.value("base_frame"), "hand": self.value("hand_frame")}
        stamp = self.get_clock().now().to_msg()
        message.transforms = [
            _transform(setup, str(mounts[setup.mount]), stamp)
            for setup in (spec.external, spec.wrist)
        ]
        self._transforms.publish(message)

    def _complain(self, text: str) -> None:
        if not self._stop.is_set():
            self._trouble = text
            self.get_logger().warning(text, throttle_duration_sec=5.0)


def _transform(setup: CameraSetup, parent: str, stamp: Time) -> TransformStamped:
    return TransformStamped(
        header=Header(stamp=stamp, frame_id=parent),
        child_frame_id=setup.frame_id,
        transform=convert.transform_message(setup.mount_from_optical),
    )


def _millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    known = np.isfinite(depth) & (depth > 0) & (depth < FARTHEST_M)
    return np.where(known, np.rint(depth * 1000.0), 0).astype(np.uint16)


def main() -> None:
    os.nice(5)  # a late picture is normal, a late command is not
    run(SimCamerasNode)


if __name__ == "__main__":
    main()
