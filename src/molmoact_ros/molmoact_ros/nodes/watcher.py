"""Collects what a person would see of a run, through topics and the action alone."""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.action import ExecuteInstruction
from molmoact_msgs.msg import ArmStatus, CommandStatus, PolicyStatus, Reasoning
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from molmoact_ros.evals.run_record import RunRecord, ThoughtRecord
from molmoact_ros.frames import UnknownTransform
from molmoact_ros.geometry import Camera
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.inputs import StaticFrames
from molmoact_ros.nodes.runtime import LATCHED_QOS, SENSOR_QOS


class Watcher(Node):
    """Collects what a person would see; ``record`` grows while the node spins."""

    def __init__(self, instruction: str, film: bool, tell: bool = True) -> None:
        super().__init__("watcher")
        self.record = RunRecord(instruction)
        self.policy: PolicyStatus | None = None
        self.command: CommandStatus | None = None
        self.arm: ArmStatus | None = None
        self.refused = 0
        self.printed = 0
        self._film, self._tell = film, tell
        self._wrist: NDArray[np.uint8] | None = None
        self._camera: Camera | None = None
        self._frames = StaticFrames(self)
        self._path: deque[NDArray[np.float64]] = deque(maxlen=400)
        self._path_stamp = 0.0
        subscribe = self.create_subscription
        subscribe(Reasoning, "policy/reasoning", self._reasoning, LATCHED_QOS)
        subscribe(PolicyStatus, "policy/status", self._set("policy"), LATCHED_QOS)
        subscribe(CommandStatus, "commander/status", self._set("command"), LATCHED_QOS)
        subscribe(ArmStatus, "franka/status", self._set("arm"), LATCHED_QOS)
        if film:
            root = "/cameras/external/color"
            subscribe(Image, f"{root}/image_raw", self._external, SENSOR_QOS)
            subscribe(CameraInfo, f"{root}/camera_info", self._camera_info, SENSOR_QOS)
            subscribe(Image, "/cameras/wrist/color/image_raw", self._wrist_image, SENSOR_QOS)
            subscribe(PoseStamped, "current_pose", self._measured, SENSOR_QOS)
        self.actions = ActionClient(self, ExecuteInstruction, "policy/execute_instruction")

    def not_ready(self) -> str:
        """What is still missing before a goal makes sense; empty when nothing is."""
        if not self.actions.server_is_ready() or self.policy is None:
            return "the policy node"
        if self.command is None:
            return "the commander"
        if self.arm is None or not self.arm.connected:
            return "the arm"
        if not self.arm.armed:
            return f"the arm to be armed ({self.arm.detail})"
        if self._film and self._wrist is None:
            return "camera images"
        return ""

    def words(self) -> str:
        """One line about now, for the film."""
        if self.command is not None and (self.command.limited or not self.command.enabled):
            return self.command.reason
        return self.policy.detail if self.policy else "starting"

    def _set(self, name: str):  # type: ignore[no-untyped-def]
        return lambda message: setattr(self, name, message)

    def _reasoning(self, message: Reasoning) -> None:
        rows = convert.rows_from(message.actions) if message.actions.rows else np.zeros((0, 7))
        self.refused += bool(message.refused)
        thought = ThoughtRecord(
            chunk_id=message.chunk_id,
            stamp=convert.seconds(message.header.stamp),
            instruction=message.instruction,
            model=message.model,
            refused=message.refused,
            refusal=message.refusal,
            depth=tuple(int(c) for c in message.depth.codes),
            trace=tuple((p.x, p.y) for p in message.trace.points),
            actions=tuple(tuple(row) for row in rows.tolist()),
            timings={t.stage: round(t.seconds, 4) for t in message.timings},
            text=message.text,
            codebook=message.depth.codebook,
        )
        self.record.thoughts.append(thought)
        if self._tell:
            self._print(thought)

    def _print(self, thought: ThoughtRecord) -> None:
        seconds = sum(thought.timings.values())
        head = f"thought {thought.chunk_id:4d}  {seconds:5.2f} s  "
        if thought.refused:
            sys.stdout.write(f"{head}refused: {thought.refusal}\n")
        else:
            rows = np.array(thought.actions)
            way = [f"({u:.0f},{v:.0f})" for u, v in thought.trace]
            trace = f"{way[0]} → {way[-1]}" if len(way) > 1 else " ".join(way) or "none"
            grip = "open" if rows[-1, -1] >= 0.5 else "closed"
            move = np.linalg.norm(rows[:, :3].sum(axis=0)) * 100
            sys.stdout.write(
                f"{head}depth {len(set(thought.depth)):3d} kinds of code  trace {trace:<23}"
                f"chunk {len(rows)} rows {move:4.1f} cm, gripper {grip}\n"
            )
        sys.stdout.flush()

    def _external(self, message: Image) -> None:
        row = self.command.chunk_row if self.command is not None else -1
        executed: NDArray[np.float32] = np.zeros((0, 2), np.float32)
        if self._camera is not None and self._path:
            pixels, depth = self._camera.project(np.stack(self._path))
            executed = self._camera.grid_from_pixels(pixels[depth > 0]).astype(np.float32)
        self.record.add_frame(
            convert.seconds(message.header.stamp),
            convert.rgb_from(message),
            self._wrist,
            self.words(),
            executed,
            row,
        )

    def _wrist_image(self, message: Image) -> None:
        self._wrist = convert.rgb_from(message)

    def _camera_info(self, message: CameraInfo) -> None:
        try:
            pose = self._frames.tree.lookup("fr3_link0", message.header.frame_id)
            self._camera = convert.camera_from(message, pose)
        except (UnknownTransform, convert.BadMessage):
            return  # the film then lacks the white path; the policy node says why

    def _measured(self, message: PoseStamped) -> None:
        stamp = convert.seconds(message.header.stamp)
        if stamp - self._path_stamp >= 0.1:
            self._path_stamp = stamp
            self._path.append(convert.pose_from(message.pose).position)
