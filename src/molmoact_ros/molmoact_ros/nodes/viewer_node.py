"""The viewer node: draws what the policy thinks. It never touches the way from image to arm.

Everything is derived from ``reasoning`` and the images, so a replayed bag draws the same.
Model depth is RELATIVE: it is published as mono8 and as a coloured picture, never in metres.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import CommandStatus, Reasoning, VisualTrace
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from molmoact_ros.frames import UnknownTransform
from molmoact_ros.geometry import Camera, Pose
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.depth_pictures import DepthPictures
from molmoact_ros.nodes.inputs import StaticFrames
from molmoact_ros.nodes.marker_messages import marker_array
from molmoact_ros.nodes.runtime import (
    LATCHED_QOS,
    OK,
    SENSOR_QOS,
    WARN,
    ManagedNode,
    run,
)
from molmoact_ros.nodes.trace_annotations import annotation_messages, image_annotations
from molmoact_ros.policy.observations import PoseTrack
from molmoact_ros.viz.chunk_path import chunk_path
from molmoact_ros.viz.colours import EXECUTED, HUMAN, MODEL
from molmoact_ros.viz.estimated_depth import lift_estimated, workspace_plane
from molmoact_ros.viz.lift3d import PLANE_Z_M, lift_trace
from molmoact_ros.viz.markers import (
    LineStrip,
    chunk_markers,
    estimated_markers,
    no_estimate,
    trace_markers,
    workspace_box,
)
from molmoact_ros.viz.markers import Marker as Drawing
from molmoact_ros.viz.scores import Scores
from molmoact_ros.viz.trace_view import draw_overlay

EXECUTED_POINTS = 150
DEPTH_LOST_S = 2.0
"""A depth camera that was silent for so long against the arm's state counts as not there."""


class ViewerNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("viewer")
        self.declare("base_frame", "fr3_link0", "frame of the 3-D drawings")
        self.declare("box_min_m", [0.25, -0.45, 0.01], "workspace corner, as the commander's")
        self.declare("box_max_m", [0.75, 0.45, 0.70], "workspace corner, as the commander's")
        self.declare(
            "depth_weights", "", "VQ-VAE of the depth codes, vae-final.pt; empty: this package's"
        )
        self.declare("executed_period", 0.2, "seconds between white points", (0.02, 5.0))

    def setup(self) -> None:
        self._base = str(self.value("base_frame"))
        self._pictures = DepthPictures(self, str(self.value("depth_weights")))
        self._frames = StaticFrames(self)
        self._camera: Camera | None = None
        self._depth: NDArray[np.float32] | None = None
        self._thought: Reasoning | None = None
        self._trace: NDArray[np.float32] = np.zeros((0, 2), np.float32)
        self._pose: Pose | None = None
        self._poses = PoseTrack()
        self._command_status = CommandStatus()
        self._scores = Scores()
        self._relative: NDArray[np.float32] | None = None
        self._depth_stamp = self._picture_stamp = self._pose_stamp = 0.0
        self._path: deque[tuple[float, NDArray[np.float64]]] = deque(maxlen=EXECUTED_POINTS)
        publish = self.create_publisher
        self._overlay = publish(Image, "~/overlay", SENSOR_QOS)
        self._markers = publish(MarkerArray, "~/markers", LATCHED_QOS)
        self._msgs = annotation_messages()
        if self._msgs is not None:
            kind = self._msgs.ImageAnnotations
            self._annotations = publish(kind, "~/annotations", SENSOR_QOS)
        subscribe = self.create_subscription
        subscribe(Reasoning, "reasoning", self._reasoning, LATCHED_QOS)
        subscribe(Image, "external/image", self._image, SENSOR_QOS)
        subscribe(Image, "external/depth", self._sensor_depth, SENSOR_QOS)
        subscribe(CameraInfo, "external/camera_info", self._camera_info, SENSOR_QOS)
        subscribe(PoseStamped, "current_pose", self._measured, SENSOR_QOS)
        subscribe(CommandStatus, "command_status", self._command, LATCHED_QOS)
        self.create_timer(0.5, self._draw_3d)

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if self._thought is None:
            return WARN, "no thought to draw yet", {}
        if self._pictures.problem:
            return WARN, self._pictures.problem, {"chunk_id": self._thought.chunk_id}
        return OK, "drawing", {"chunk_id": self._thought.chunk_id, **self._scores.numbers()}

    def _reasoning(self, message: Reasoning) -> None:
        if message.instruction != (self._thought.instruction if self._thought else ""):
            self._path.clear()
        self._thought = message
        self._trace = convert.trace_points(message.trace)
        self._relative = self._pictures.show(message)
        followed = self._trace if not message.refusal else self._trace[:0]
        stamp = convert.seconds(message.header.stamp)
        self._scores.thought(message.chunk_id, stamp, followed, self._relative, self._camera)
        self._draw_3d()

    @property
    def _steered(self) -> bool:
        thought = self._thought
        return thought is not None and thought.trace.source == VisualTrace.SOURCE_HUMAN

    def _image(self, message: Image) -> None:
        self._picture_stamp = convert.seconds(message.header.stamp)
        if not self._overlay.get_subscription_count():
            return
        try:
            image = convert.rgb_from(message)
        except convert.BadMessage as bad:
            self.get_logger().warning(str(bad), throttle_duration_sec=5.0)
            return
        model, human = (None, self._trace) if self._steered else (self._trace, None)
        picture = draw_overlay(image, model=model, human=human, executed=self._executed_grid())
        self._overlay.publish(convert.image_message(picture, "rgb8", message.header))

    def _executed_grid(self) -> NDArray[np.float64] | None:
        if self._camera is None or not self._path:
            return None
        pixels, depth = self._camera.project(np.stack([point for _, point in self._path]))
        return self._camera.grid_from_pixels(pixels[depth > 0.0])

    def _sensor_depth(self, message: Image) -> None:
        try:
            self._depth = convert.depth_from(message)
            self._depth_stamp = convert.seconds(message.header.stamp)
            self._scores.sensor_depth(self._depth_stamp, self._depth)
        except convert.BadMessage as bad:
            self.get_logger().warning(str(bad), throttle_duration_sec=5.0)

    def _camera_info(self, message: CameraInfo) -> None:
        try:
            pose = self._frames.tree.lookup(self._base, message.header.frame_id)
            self._camera = convert.camera_from(message, pose)
        except (UnknownTransform, convert.BadMessage) as problem:
            self.get_logger().warning(
                f"no 3-D trace: {problem}", throttle_duration_sec=10.0, skip_first=True
            )

    def _measured(self, message: PoseStamped) -> None:
        stamp = convert.seconds(message.header.stamp)
        self._pose, self._pose_stamp = convert.pose_from(message.pose), stamp
        self._poses.add(stamp, self._pose)
        self._scores.tool(stamp, self._pose.position)
        if not self._path or stamp - self._path[-1][0] >= float(self.value("executed_period")):
            self._path.append((stamp, self._pose.position))

    def _command(self, message: CommandStatus) -> None:
        self._command_status = message

    def _draw_3d(self) -> None:
        if self._pose is None or not self.active:
            return
        low, high = (np.array(self.value(name)) for name in ("box_min_m", "box_max_m"))
        box = workspace_box(low, high, clamped=self._command_status.limited, frame=self._base)
        drawings: list[Drawing] = [box]
        points = np.stack([point for _, point in self._path]) if self._path else np.zeros((0, 3))
        colours = tuple(EXECUTED.rgba(0.8) for _ in points)
        drawings.append(LineStrip("executed", 0, self._base, points, colours, 0.003))
        thought = self._thought
        if thought is not None:
            drawings.extend(self._lifted(thought, low, high))
            rows = convert.rows_from(thought.actions) if thought.actions.rows else np.zeros((0, 7))
            start = self._poses.at(convert.seconds(thought.header.stamp)) or self._pose
            command = self._command_status
            done = max(command.chunk_row, 0) if command.chunk_id == thought.chunk_id else 0
            worm = chunk_markers(chunk_path(start, rows), executed_rows=done, frame=self._base)
            drawings.extend(worm)
        header = Header(stamp=self.get_clock().now().to_msg())
        self._markers.publish(marker_array(drawings, header.stamp))
        self._annotate()

    def _lifted(
        self, thought: Reasoning, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[Drawing, ...]:
        """The trace in 3-D: by the depth camera, else by the model's own depth, else on a plane."""
        if self._camera is None or self._pose is None:
            return ()
        colour = HUMAN if self._steered else MODEL
        stamp = convert.seconds(thought.header.stamp)
        depth = self._depth if self._pose_stamp - self._depth_stamp < DEPTH_LOST_S else None
        if depth is None and self._relative is not None:
            tool = (self._poses.at(stamp) or self._pose).position
            plane = workspace_plane(low, high, 0.0)
            guess = lift_estimated(self._trace, self._camera, self._relative, tool, plane)
            if guess is not None:
                return estimated_markers(guess, colour, frame=self._base)
        lifted = lift_trace(self._trace, self._camera, depth, plane_z=PLANE_Z_M)
        return (*trace_markers(lifted, colour, frame=self._base), *no_estimate(frame=self._base))

    def _annotate(self) -> None:
        """The trace as lines for Foxglove, on the camera's own picture."""
        if self._msgs is None or self._camera is None:
            return
        self._annotations.publish(
            image_annotations(
                self._msgs,
                convert.to_time(self._picture_stamp),
                (self._camera.width, self._camera.height),
                trace=self._trace,
                colour=HUMAN if self._steered else MODEL,
                executed=self._executed_grid(),
                executed_colour=EXECUTED,
            )
        )


def main() -> None:
    run(ViewerNode)


if __name__ == "__main__":
    main()
