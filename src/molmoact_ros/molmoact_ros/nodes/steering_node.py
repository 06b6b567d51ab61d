"""The steering node: hands pictures and status to the web page and its commands to the robot."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import (
    ArmStatus,
    CommandStatus,
    EpisodeStatus,
    PolicyStatus,
    Reasoning,
    SessionStatus,
    VisualTrace,
)
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from molmoact_ros.frames import UnknownTransform
from molmoact_ros.geometry import Camera
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.inputs import StaticFrames
from molmoact_ros.nodes.page_commands import RosCommands
from molmoact_ros.nodes.page_training import PageTraining
from molmoact_ros.nodes.page_views import recorder_view, tasks_view
from molmoact_ros.nodes.runtime import LATCHED_QOS, OK, SENSOR_QOS, ManagedNode, SetupError, run
from molmoact_ros.viz.depth_view import colour_mono8
from molmoact_ros.web import status as page_status
from molmoact_ros.web.page import PageError, PageState, Stream
from molmoact_ros.web.security import BindRefusedError
from molmoact_ros.web.server import SteeringServer

EXECUTED_POINTS = 120
RECORDER_GONE_S = 3.0
"""The recorder reports twice a second; after this silence the page hides its buttons."""


class SteeringNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("steering")
        self.declare("host", "127.0.0.1", "address to serve at; others than loopback need a token")
        self.declare("port", 8765, "TCP port; 0 takes a free one", (0, 65535))
        self.declare("token", "", "secret in the page's address; needed when not on loopback")
        self.declare("robot", "Franka FR3", "what moves, in words")
        self.declare("simulated", False, "offer a new scene")
        self.declare("default_mode", "shadow", "auto or shadow, preselected on the page")
        self.declare("suggestions", [""], "instructions the page offers")
        self.declare("base_frame", "fr3_link0", "frame of current_pose")
        self._server: SteeringServer | None = None

    def setup(self) -> None:
        self._base = str(self.value("base_frame"))
        self._session = page_status.Session(
            robot=str(self.value("robot")),
            suggestions=tuple(s for s in self.value("suggestions") if s),
            can_new_scene=bool(self.value("simulated")),
            default_mode=str(self.value("default_mode")),
        )
        self._state = PageState(self._session, clock=self.now)
        self._frames = StaticFrames(self)
        self._camera: Camera | None = None
        self._path: deque[tuple[float, NDArray[np.float64]]] = deque(maxlen=EXECUTED_POINTS)
        self._instruction = ""
        self._chunk = (0, -1)
        self._policy_status = PolicyStatus()
        self._recorder_heard = 0.0
        subscribe = self.create_subscription
        for topic, stream in (
            ("external/image", Stream.EXTERNAL),
            ("wrist/image", Stream.WRIST),
        ):
            subscribe(Image, topic, lambda m, s=stream: self._image(s, m), SENSOR_QOS)
        subscribe(Image, "depth", self._depth, SENSOR_QOS)
        subscribe(CameraInfo, "external/camera_info", self._camera_info, SENSOR_QOS)
        subscribe(PoseStamped, "current_pose", self._measured, SENSOR_QOS)
        subscribe(Reasoning, "reasoning", self._reasoning, LATCHED_QOS)
        subscribe(PolicyStatus, "policy_status", self._policy, LATCHED_QOS)
        subscribe(CommandStatus, "command_status", self._command, LATCHED_QOS)
        subscribe(ArmStatus, "arm_status", self._arm, LATCHED_QOS)
        subscribe(VisualTrace, "steering_trace", self._steering, LATCHED_QOS)
        subscribe(EpisodeStatus, "recorder/status", self._recorder, LATCHED_QOS)
        subscribe(SessionStatus, "recorder/session", self._tasks, LATCHED_QOS)
        self.create_timer(1.0, self._look_for_neighbours)
        try:
            self._server = SteeringServer(
                self._state,
                RosCommands(self, PageTraining(self, self._state)),
                str(self.value("host")),
                int(self.value("port")),
                str(self.value("token")),
            ).start()
        except (BindRefusedError, PageError) as error:
            raise SetupError(str(error)) from error
        self.get_logger().info(f"steering page: {self._server.url}")

    def teardown(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        clients = self._server.clients if self._server else 0
        return OK, f"{clients} page(s) open", {"clients": clients}

    def _image(self, stream: Stream, message: Image) -> None:
        try:
            image = convert.rgb_from(message)
        except convert.BadMessage as bad:
            self.get_logger().warning(str(bad), throttle_duration_sec=5.0)
            return
        self._state.put_image(stream, image, convert.seconds(message.header.stamp))

    def _depth(self, message: Image) -> None:
        if message.encoding != "mono8" or len(message.data) != message.width * message.height:
            self.get_logger().warning("depth is not mono8", throttle_duration_sec=5.0)
            return
        mono = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
        stamp = convert.seconds(message.header.stamp)
        self._state.put_image(Stream.DEPTH, colour_mono8(mono), stamp)

    def _camera_info(self, message: CameraInfo) -> None:
        try:
            pose = self._frames.tree.lookup(self._base, message.header.frame_id)
            self._camera = convert.camera_from(message, pose)
        except (UnknownTransform, convert.BadMessage):
            return  # the policy node says so; the page only lacks the white path

    def _measured(self, message: PoseStamped) -> None:
        stamp = convert.seconds(message.header.stamp)
        if self._path and stamp - self._path[-1][0] < 0.2:
            return
        self._path.append((stamp, convert.pose_from(message.pose).position))
        if self._camera is not None:
            pixels, depth = self._camera.project(np.stack([point for _, point in self._path]))
            grid = self._camera.grid_from_pixels(pixels[depth > 0.0])
            self._state.set_executed([(round(u, 1), round(v, 1)) for u, v in grid.tolist()])

    def _reasoning(self, message: Reasoning) -> None:
        if message.instruction != self._instruction:
            self._instruction = message.instruction
            self._path.clear()
        if message.model != self._session.thinker:
            self._session = replace(self._session, thinker=message.model)
            self._state.set_session(self._session)
        rows = convert.rows_from(message.actions) if message.actions.rows else np.zeros((0, 7))
        self._state.add_thought(
            page_status.ThoughtView(
                chunk_id=message.chunk_id,
                stamp=convert.seconds(message.header.stamp),
                instruction=message.instruction,
                trace=tuple((p.x, p.y) for p in message.trace.points),
                actions=tuple(tuple(row) for row in rows.tolist()),
                period=convert.seconds(message.actions.period) or 1.0 / 15.0,
                timings={t.stage: t.seconds for t in message.timings},
                steered=message.steered,
                refusal=message.refusal,
                text=message.text,
            )
        )

    def _policy(self, message: PolicyStatus) -> None:
        self._policy_status = message
        waits = message.phase == PolicyStatus.AWAITING_APPROVAL
        self._state.set_policy(
            page_status.PolicyStatus(
                phase=page_status.PHASES[min(message.phase, len(page_status.PHASES) - 1)],
                instruction=message.instruction,
                detail=message.detail,
                mode=page_status.MODES[min(message.mode, len(page_status.MODES) - 1)],
                # A plan that waits is not the commander's yet.
                chunk_id=message.chunk_id if waits else self._chunk[0],
                row=-1 if waits else self._chunk[1],
                rows=message.rows,
                observation_age=message.observation_age,
                inference_time=message.inference_time,
                steering_active=message.steering_active,
            )
        )

    def _command(self, message: CommandStatus) -> None:
        chunk = (message.chunk_id, message.chunk_row)
        if chunk != self._chunk:
            self._chunk = chunk
            self._policy(self._policy_status)
        self._state.set_command(
            page_status.CommandStatus(
                source=page_status.SOURCES[min(message.source, len(page_status.SOURCES) - 1)],
                enabled=message.enabled,
                limited=message.limited,
                reason=message.reason,
                command_age=message.command_age,
                tracking_error=message.tracking_error,
            )
        )

    def _arm(self, message: ArmStatus) -> None:
        self._state.set_arm(
            page_status.ArmStatus(
                connected=message.connected,
                armed=message.armed,
                mode=message.mode,
                errors=tuple(message.errors),
                detail=message.detail,
                gripper_width=message.gripper_width,
            )
        )

    def _steering(self, message: VisualTrace) -> None:
        self._state.set_sketch([(p.x, p.y) for p in message.points])

    def _recorder(self, message: EpisodeStatus) -> None:
        self._recorder_heard = self.now()
        self._state.set_recorder(recorder_view(message))

    def _tasks(self, message: SessionStatus) -> None:
        self._state.set_tasks(tasks_view(message))

    def _look_for_neighbours(self) -> None:
        """Buttons of a node that is not there would only fail."""
        if self.now() - self._recorder_heard > RECORDER_GONE_S:
            self._state.set_recorder(None)
        teleop = self.count_publishers("teleop/twist") > 0
        if teleop != self._session.has_teleop:
            self._session = replace(self._session, has_teleop=teleop)
            self._state.set_session(self._session)


def main() -> None:
    run(SteeringNode)


if __name__ == "__main__":
    main()
