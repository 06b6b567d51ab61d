"""Turns a drawn path into the commander's soft corridor (control/corridor.py).

Only with the parameter ``corridor_radius_m`` above 0, for one arm, and only when the depth camera
knows what lies under every point of the path.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import VisualTrace
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from molmoact_ros.control.commander import Commander
from molmoact_ros.control.corridor import Corridor, path_above
from molmoact_ros.frames import UnknownTransform
from molmoact_ros.geometry import Camera, Floats
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.inputs import StaticFrames
from molmoact_ros.nodes.runtime import LATCHED_QOS, SENSOR_QOS, ManagedNode
from molmoact_ros.viz.lift3d import lift_trace

DEPTH_AGE_S = 1.0
AT_TOOL_GRID = 14.0
"""A path whose first point is seen so near the tool (0..255 grid) begins at the tool."""


def declare_corridor(node: ManagedNode) -> None:
    """The parameters; all do nothing while the radius is 0."""
    node.declare("corridor_radius_m", 0.0, "drawn paths bend rows that stray; 0: off", (0.0, 0.2))
    node.declare("corridor_pull_m", 0.004, "most metres a row is bent by", (0.0, 0.01))
    node.declare("corridor_height_m", 0.06, "height of the path above surfaces", (0.0, 0.4))


def corridor_from(
    trace: NDArray[np.floating],
    camera: Camera,
    depth: NDArray[np.floating],
    tool: Floats | None,
    *,
    radius_m: float,
    pull_m: float,
    height_m: float,
) -> Corridor | None:
    """The corridor of a drawn path [L, 2] (0..255 grid), or None when depth is unknown below it.

    depth [H, W]: metres, aligned to ``camera``; tool [3]: the measured tool centre, base frame.
    """
    lifted = lift_trace(trace, camera, depth)
    if len(trace) < 2 or not lifted.measured.all():
        return None
    start = None
    if tool is not None:
        seen, distance = camera.project(tool)
        gap = float(np.linalg.norm(camera.grid_from_pixels(seen)[0] - trace[0]))
        start = tool if distance[0] > 0.0 and gap <= AT_TOOL_GRID else None
    try:
        path = path_above(lifted.points, camera, height_m, start)
    except ValueError:
        return None
    return Corridor(path, radius_m, pull_m)


class CorridorFeed:
    """Listens to the path that steers, to depth, calibration and pose; feeds one commander."""

    def __init__(self, node: ManagedNode, commander: Commander) -> None:
        self._node, self._commander = node, commander
        self._base = str(node.value("base_frame"))
        self._frames = StaticFrames(node)
        self._camera: Camera | None = None
        self._depth: Image | None = None
        self._tool: Floats | None = None
        subscribe = node.create_subscription
        subscribe(CameraInfo, "external/camera_info", self._camera_info, SENSOR_QOS)
        subscribe(Image, "external/depth", self._sensor_depth, SENSOR_QOS)
        subscribe(PoseStamped, "current_pose", self._measured, SENSOR_QOS)
        subscribe(VisualTrace, "policy/steering_trace", self._steering, LATCHED_QOS)

    def _steering(self, message: VisualTrace) -> None:
        trace = convert.trace_points(message)
        if len(trace) < 2 or message.source != VisualTrace.SOURCE_HUMAN:
            self._commander.set_corridor(None)
            return
        corridor, why = self._built(trace)
        self._commander.set_corridor(corridor)
        if corridor is None:
            self._node.get_logger().warning(f"the path steers without a corridor: {why}")

    def _built(self, trace: NDArray[np.float32]) -> tuple[Corridor | None, str]:
        if self._camera is None:
            return None, "the external camera has no calibration or no pose in /tf_static"
        newest = self._depth
        if newest is None or self._node.now() - convert.seconds(newest.header.stamp) > DEPTH_AGE_S:
            return None, "no fresh picture on external/depth; set align_depth.enable:=true"
        try:
            metres = convert.depth_from(newest)
        except convert.BadMessage as bad:
            return None, str(bad)
        if metres.shape != (self._camera.height, self._camera.width):
            return None, "external/depth is not aligned to the colour picture"
        node = self._node
        corridor = corridor_from(
            trace,
            self._camera,
            metres,
            self._tool,
            radius_m=float(node.value("corridor_radius_m")),
            pull_m=float(node.value("corridor_pull_m")),
            height_m=float(node.value("corridor_height_m")),
        )
        return corridor, "the depth camera does not see what lies under every point"

    def _camera_info(self, message: CameraInfo) -> None:
        try:
            pose = self._frames.tree.lookup(self._base, message.header.frame_id)
            self._camera = convert.camera_from(message, pose)
        except (UnknownTransform, convert.BadMessage):
            self._camera = None

    def _sensor_depth(self, message: Image) -> None:
        self._depth = message  # read when a path comes: the commander's loop has no time for it

    def _measured(self, message: PoseStamped) -> None:
        self._tool = convert.pose_from(message.pose).position
