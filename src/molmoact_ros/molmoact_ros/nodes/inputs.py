"""Subscriptions that feed an ObservationBuffer: cameras, depth, calibration, poses, gripper."""

from __future__ import annotations

from collections.abc import Callable

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, JointState

from molmoact_ros.frames import FrameTree, UnknownTransform
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.drained import Drained
from molmoact_ros.nodes.runtime import SENSOR_QOS, TF_STATIC_QOS
from molmoact_ros.policy.observations import ObservationBuffer

THROTTLE_S = 5.0
HISTORY_QOS = QoSProfile(
    depth=100, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""A second of poses at 100 Hz, for cameras down to one frame a second."""


class StaticFrames:
    """/tf_static of the graph as a FrameTree; tells what to install when tf2_msgs is missing."""

    def __init__(self, node: Node) -> None:
        self.tree = FrameTree()
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            node.get_logger().warning(
                "tf2_msgs is not installed, so cameras have no pose: "
                "install ros-jazzy-tf2-msgs (or run ./run setup)"
            )
            return
        node.create_subscription(TFMessage, "/tf_static", self._receive, TF_STATIC_QOS)

    def _receive(self, message: object) -> None:
        for transform in message.transforms:  # type: ignore[attr-defined]
            self.tree.add(
                transform.header.frame_id,
                transform.child_frame_id,
                convert.matrix_from(transform.transform),
            )


class ObservationInputs:
    """Everything the policy sees, into ``buffer``: pictures on arrival, poses with the pictures.

    on_pictures: called when a new picture of the first camera is there.
    """

    def __init__(
        self,
        node: Node,
        buffer: ObservationBuffer,
        slots: tuple[str, ...],
        base: str,
        on_pictures: Callable[[], None] = lambda: None,
    ) -> None:
        self._node, self._first, self._on_pictures = node, slots[0], on_pictures
        self._buffer = buffer
        self._base = base
        self._frames = StaticFrames(node)
        # An executor serves subscriptions in this order: an image that is seen is complete then,
        # because its depth, calibration and wrist view came first.
        node.create_subscription(
            CameraInfo, f"{slots[0]}/camera_info", self._camera_info, SENSOR_QOS
        )
        if buffer.needs_geometry:
            node.create_subscription(Image, f"{slots[0]}/depth", self._depth, SENSOR_QOS)
        for slot in reversed(slots):
            node.create_subscription(
                Image, f"{slot}/image", lambda m, s=slot: self._image(s, m), SENSOR_QOS
            )
        self._states = Drained(node)
        self._states.subscribe(
            PoseStamped, "current_pose", lambda m: self._pose(m, False), HISTORY_QOS
        )
        self._states.subscribe(
            PoseStamped, "target_pose", lambda m: self._pose(m, True), HISTORY_QOS
        )
        self._states.subscribe(JointState, "gripper/joint_states", self._gripper, SENSOR_QOS)

    def _image(self, slot: str, message: Image) -> None:
        try:
            image = convert.rgb_from(message)
        except convert.BadMessage as bad:
            self._complain(f"{slot}/image: {bad}")
            return
        if slot == self._first:
            self._states.drain()  # so that its moment is between two poses
        self._buffer.add_image(slot, convert.seconds(message.header.stamp), image)
        if slot == self._first:
            self._on_pictures()

    def _depth(self, message: Image) -> None:
        try:
            depth = convert.depth_from(message)
        except convert.BadMessage as bad:
            self._complain(str(bad))
            return
        self._buffer.add_depth(convert.seconds(message.header.stamp), depth)

    def _camera_info(self, message: CameraInfo) -> None:
        try:
            pose = self._frames.tree.lookup(self._base, message.header.frame_id)
            self._buffer.set_camera(convert.camera_from(message, pose))
        except (UnknownTransform, convert.BadMessage) as problem:
            self._complain(f"external camera is not calibrated: {problem}")

    def _pose(self, message: PoseStamped, commanded: bool) -> None:
        if message.header.frame_id not in ("", self._base):
            self._complain(
                f"pose in frame '{message.header.frame_id}', expected '{self._base}': "
                "set the parameter base_frame or remap current_pose"
            )
            return
        pose = convert.pose_from(message.pose)
        self._buffer.add_pose(convert.seconds(message.header.stamp), pose, commanded=commanded)

    def _gripper(self, message: JointState) -> None:
        if len(message.position) >= 2:
            self._buffer.set_gripper(float(message.position[0] + message.position[1]))

    def _complain(self, text: str) -> None:
        self._node.get_logger().warning(text, throttle_duration_sec=THROTTLE_S)
