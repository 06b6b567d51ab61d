"""Between ROS messages and the arrays of the core. Stamps are seconds as float."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from cv_bridge import CvBridge, CvBridgeError
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseStamped, Transform, TwistStamped
from molmoact_msgs.msg import (
    ActionChunk,
    ChunkCommand,
    DepthTokens,
    TracePoint,
    VisualTrace,
)
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from molmoact_ros.geometry import Camera, Floats, Pose

ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
_BRIDGE = CvBridge()


class BadMessage(ValueError):
    """A message that cannot be used; says what was found and what was expected."""


def seconds(stamp: Time | Duration) -> float:
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9


def to_time(value: float) -> Time:
    sec = int(value)
    return Time(sec=sec, nanosec=min(999_999_999, int(round((value - sec) * 1e9))))


def to_duration(value: float) -> Duration:
    sec = int(value)
    return Duration(sec=sec, nanosec=min(999_999_999, int(round((value - sec) * 1e9))))


def rgb_from(message: Image) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3]. Raises BadMessage for an encoding that is no colour picture."""
    try:
        image = _BRIDGE.imgmsg_to_cv2(message, desired_encoding="rgb8")
    except (CvBridgeError, ValueError, TypeError) as error:
        raise BadMessage(
            f"image with encoding '{message.encoding}', {message.width}x{message.height}, "
            f"{len(message.data)} bytes cannot be read as rgb8: {error}"
        ) from error
    return np.asarray(image, dtype=np.uint8)


def depth_from(message: Image) -> NDArray[np.float32]:
    """Metres float32 [H, W] from 16UC1 (millimetres, REP-118) or 32FC1 (metres); 0 = unknown."""
    kinds = {"16UC1": (np.uint16, 1e-3), "32FC1": (np.float32, 1.0)}
    if message.encoding not in kinds:
        raise BadMessage(
            f"depth encoding '{message.encoding}': expected 16UC1 (mm) or 32FC1 (m); "
            "use the driver's aligned depth topic"
        )
    # Not through cv_bridge: its PyPI wheel 1.13.0 reads 16UC1 as 8 bit (a typo in its table).
    kind, scale = kinds[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = message.width * dtype.itemsize
    if message.step < row_bytes or len(message.data) < message.step * message.height:
        raise BadMessage(
            f"depth image {message.width}x{message.height} with step {message.step} needs "
            f"{max(message.step, row_bytes) * message.height} bytes, got {len(message.data)}"
        )
    raw = np.frombuffer(message.data, np.uint8, message.step * message.height)
    rows = raw.reshape(message.height, message.step)[:, :row_bytes]
    metres = np.ascontiguousarray(rows).view(dtype).astype(np.float32) * np.float32(scale)
    return np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0)


def image_message(
    image: NDArray[np.uint8] | NDArray[np.uint16], encoding: str, header: Header
) -> Image:
    """rgb8, mono8 or 16UC1 from a C-contiguous array [H, W(, 3)]."""
    data = np.ascontiguousarray(image)
    message = Image(header=header, height=data.shape[0], width=data.shape[1], encoding=encoding)
    message.step = data.strides[0]
    # array.array is taken without a per-byte check; bytes are not (1.6 ms against 2.2 ms).
    message.data = array.array("B", data.tobytes())
    return message


def pose_from(message: PoseMsg) -> Pose:
    p, q = message.position, message.orientation
    return Pose(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))


def pose_message(pose: Pose) -> PoseMsg:
    message = PoseMsg()
    message.position.x, message.position.y, message.position.z = map(float, pose.position)
    q = message.orientation
    q.x, q.y, q.z, q.w = map(float, pose.quaternion)
    return message


def pose_stamped(pose: Pose, stamp: float, frame: str) -> PoseStamped:
    return PoseStamped(header=Header(stamp=to_time(stamp), frame_id=frame), pose=pose_message(pose))


def twist_stamped(twist: Floats, stamp: float, frame: str) -> TwistStamped:
    message = TwistStamped(header=Header(stamp=to_time(stamp), frame_id=frame))
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, twist)
    return message


def twist_from(message: TwistStamped) -> Floats:
    t = message.twist
    return np.array([t.linear.x, t.linear.y, t.linear.z, t.angular.x, t.angular.y, t.angular.z])


def matrix_from(transform: Transform) -> Floats:
    t, r = transform.translation, transform.rotation
    return Pose(np.array([t.x, t.y, t.z]), np.array([r.x, r.y, r.z, r.w])).matrix


def transform_message(matrix: Floats) -> Transform:
    pose = Pose.from_matrix(matrix)
    message = Transform()
    t, r = message.translation, message.rotation
    t.x, t.y, t.z = map(float, pose.position)
    r.x, r.y, r.z, r.w = map(float, pose.quaternion)
    return message


def camera_from(message: CameraInfo, base_from_optical: Floats) -> Camera:
    """Raises BadMessage for an uncalibrated camera (fx = 0)."""
    k = message.k
    if not (np.isfinite(k).all() and k[0] > 0 and k[4] > 0 and message.width and message.height):
        raise BadMessage("CameraInfo without intrinsics (fx or size is 0): calibrate the camera")
    return Camera(message.width, message.height, k[0], k[4], k[2], k[5], base_from_optical)


def camera_info_message(camera: Camera, header: Header) -> CameraInfo:
    message = CameraInfo(header=header, height=camera.height, width=camera.width)
    message.distortion_model = "plumb_bob"
    message.d = [0.0] * 5
    message.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0, 0, 1.0, 0.0]
    return message


def column_names(columns: int) -> list[str]:
    """Names of a chunk's columns; two arms side by side are left, then right."""
    one = len(ACTION_NAMES)
    if columns == 2 * one:
        return [f"{side}_{name}" for side in ("left", "right") for name in ACTION_NAMES]
    return [*ACTION_NAMES[:columns], *(f"column_{i}" for i in range(one, columns))]


def chunk_message(actions: Floats, period: float, frame: str) -> ActionChunk:
    """Rows [N, D] of end-effector deltas; an empty array gives an empty chunk."""
    names = column_names(actions.shape[1]) if actions.ndim == 2 else []
    return ActionChunk(
        space=ActionChunk.SPACE_EE_DELTA,
        frame_id=frame,
        period=to_duration(period),
        names=names,
        rows=len(actions),
        data=array.array("f", np.asarray(actions, np.float32).ravel().tolist()),
    )


def rows_from(message: ActionChunk) -> Floats:
    """Rows [N, D] float64. Raises BadMessage when the sizes disagree or the space is another."""
    columns = len(message.names)
    if message.space != ActionChunk.SPACE_EE_DELTA:
        raise BadMessage(f"action space {message.space} is not SPACE_EE_DELTA")
    if columns == 0 or message.rows * columns != len(message.data):
        raise BadMessage(
            f"chunk says {message.rows} rows of {columns} columns but holds "
            f"{len(message.data)} numbers"
        )
    return np.asarray(message.data, dtype=np.float64).reshape(message.rows, columns)


def trace_message(points: Sequence[Sequence[float]], header: Header, **fields: int) -> VisualTrace:
    """Points on the 0..255 grid; fields: source, image_width, image_height."""
    return VisualTrace(
        header=header, points=[TracePoint(x=float(u), y=float(v)) for u, v in points], **fields
    )


def trace_points(message: VisualTrace) -> NDArray[np.float32]:
    """float32 [L, 2] on the 0..255 grid."""
    return np.array([[p.x, p.y] for p in message.points], dtype=np.float32).reshape(-1, 2)


def codes_from(message: DepthTokens) -> NDArray[np.uint8] | None:
    """Codes uint8 [rows, cols], or None for an empty map. Raises BadMessage on bad sizes."""
    if not message.rows:
        return None
    codes = np.asarray(message.codes, dtype=np.int64)
    if codes.size != message.rows * message.cols or (codes >= message.codebook_size).any():
        raise BadMessage(
            f"depth tokens: {codes.size} codes for a {message.rows}x{message.cols} grid of "
            f"{message.codebook_size} entries"
        )
    return codes.astype(np.uint8).reshape(message.rows, message.cols)


def chunk_command(
    goal_id: str,
    chunk_id: int,
    stamp: Time,
    frame: str,
    actions: Floats,
    period: float,
    final: bool = False,
) -> ChunkCommand:
    return ChunkCommand(
        header=Header(stamp=stamp, frame_id=frame),
        goal_id=goal_id,
        chunk_id=chunk_id,
        actions=chunk_message(actions, period, frame),
        final=final,
    )
