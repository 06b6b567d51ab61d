"""The teleop node: a hand on a device becomes a twist for the commander, while a switch is held.

Everything a device can do wrong is handled in teleop/; the limits are the commander's.
"""

from __future__ import annotations

import os
import signal

from geometry_msgs.msg import PoseStamped, TwistStamped
from molmoact_msgs.srv import SelectSource
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Float64

from molmoact_ros.control.command import Source
from molmoact_ros.geometry import Pose
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import (
    COMMAND_QOS,
    OK,
    SENSOR_QOS,
    WARN,
    ManagedNode,
    SetupError,
    run,
)
from molmoact_ros.teleop.hand import BadDevice, Hand
from molmoact_ros.teleop.joy import JoyReader
from molmoact_ros.teleop.keyboard import HELP, QUIT, KeyHand, Terminal
from molmoact_ros.teleop.leader import Leader, leader_pose
from molmoact_ros.teleop.pilot import Pilot, PilotOutput
from molmoact_ros.teleop.shaping import VIEWS, Shaping
from molmoact_ros.teleop.spacemouse import SpaceMouse

DEVICES = ("joy", "spacemouse", "keyboard", "pose", "joints")
RETRY_S = 1.0


class TeleopNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("teleop")
        self._mouse: SpaceMouse | None = None
        declare = self.declare
        declare("device", "joy", f"one of {', '.join(DEVICES)}")
        declare("layout", "xbox", "of a joy device: xbox, playstation, spacenav or plain")
        declare("view", "behind", f"where the person stands: {', '.join(VIEWS)}")
        declare("rate_hz", 50.0, "twists a second", (10.0, 200.0))
        declare("base_frame", "fr3_link0", "frame of the twists")
        declare("speed_m_s", 0.15, "at full deflection", (0.01, 0.5))
        declare("speed_rad_s", 0.5, "at full deflection", (0.05, 1.5))
        declare("dead_zone", 0.08, "deflection that counts as none", (0.0, 0.9))
        declare("power", 1.6, "1 is linear, 2 is finer near the middle", (1.0, 4.0))
        declare("turn", True, "false keeps the tool's orientation")
        declare("scale", 1.0, "metres of the arm for a metre of a leader", (0.05, 2.0))

    def setup(self) -> None:
        value = self.value
        self._device = str(value("device"))
        if self._device not in DEVICES:
            raise SetupError(f"device '{self._device}': choose one of {', '.join(DEVICES)}")
        try:
            shaping = Shaping(
                float(value("speed_m_s")),
                float(value("speed_rad_s")),
                float(value("dead_zone")),
                float(value("power")),
                str(value("view")),
                bool(value("turn")),
            )
            self._reader = JoyReader(str(value("layout")))
            self._page_reader = JoyReader("plain")
            self._leader = Leader(float(value("scale")), bool(value("turn")))
            self._terminal = Terminal() if self._device == "keyboard" else None
        except BadDevice as error:
            raise SetupError(str(error)) from error
        self._base = str(value("base_frame"))
        self._pilot, self._page = Pilot(shaping), Pilot(shaping)
        self._keys = KeyHand()
        self._next_try = 0.0
        self._clutch, self._following = False, False
        self._measured: Pose | None = None
        self._note = ""
        self._twist = self.create_publisher(TwistStamped, "teleop/twist", COMMAND_QOS)
        self._gripper = self.create_publisher(Float64, "teleop/gripper", COMMAND_QOS)
        subscribe = self.create_subscription
        subscribe(Joy, "joy", self._joy, SENSOR_QOS)
        subscribe(Joy, "teleop/page", self._page_joy, SENSOR_QOS)
        subscribe(Float64, "gripper_command", self._commanded, COMMAND_QOS)
        if self._device in ("pose", "joints"):
            subscribe(PoseStamped, "current_pose", self._follower, SENSOR_QOS)
            subscribe(PoseStamped, "leader/pose", self._leader_pose, SENSOR_QOS)
            subscribe(JointState, "leader/joint_states", self._leader_joints, SENSOR_QOS)
            subscribe(Bool, "leader/clutch", self._leader_clutch, COMMAND_QOS)
            subscribe(Float64, "leader/gripper", self._leader_gripper, COMMAND_QOS)
        self._select = self.create_client(SelectSource, "commander/select_source")
        self._timer = self.create_timer(1.0 / float(value("rate_hz")), self._tick)
        self._timer.cancel()

    def start(self) -> None:
        if self._terminal is not None:
            self._terminal.__enter__()
            self.get_logger().info(HELP)
        self._timer.reset()

    def halt(self) -> None:
        self._timer.cancel()
        if self._terminal is not None:
            self._terminal.__exit__(None, None, None)

    def teardown(self) -> None:
        if self._mouse is not None:
            self._mouse.close()
            self._mouse = None

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        return (WARN if self._note else OK), self._note or "ready", {"device": self._device}

    def _tick(self) -> None:
        now = self.now()
        self._poll_own_device(now)
        page, own = self._page.output(now), self._pilot.output(now)
        # Both at once: the person with the device in the hand stands nearer to the arm.
        self._send(own if own.twist is not None else page, now)
        if self._device in ("pose", "joints") and own.twist is None and page.twist is None:
            self._follow(now)
        if own.hand_back or page.hand_back:
            self._hand_back()

    def _poll_own_device(self, now: float) -> None:
        try:
            if self._terminal is not None:
                for key in self._terminal.typed():
                    self._keys.feed(key, now)
                    if key == QUIT:
                        os.kill(os.getpid(), signal.SIGINT)
                self._pilot.feed(self._keys.hand(now), now)
            elif self._device == "spacemouse" and now >= self._next_try:
                self._mouse = self._mouse or SpaceMouse()
                self._pilot.feed(self._mouse.poll(), now)
                self._note = ""
        except BadDevice as error:
            self._complain(str(error))
            self.teardown()
            self._next_try = now + RETRY_S

    def _send(self, output: PilotOutput, now: float) -> None:
        if output.note:
            self._complain(output.note)
        if output.twist is not None:
            self._twist.publish(convert.twist_stamped(output.twist, now, self._base))
        if output.gripper is not None:
            self._gripper.publish(Float64(data=output.gripper))

    def _follow(self, now: float) -> None:
        if self._measured is None:
            return
        twist = self._leader.twist(self._clutch, self._measured, now)
        if twist is not None or self._following:
            self._send(PilotOutput(Hand.at_rest().axes if twist is None else twist), now)
        self._following = twist is not None

    def _joy(self, message: Joy) -> None:
        if self._device == "joy":
            self._feed(self._pilot, self._reader, message)

    def _page_joy(self, message: Joy) -> None:
        self._feed(self._page, self._page_reader, message)

    def _feed(self, pilot: Pilot, reader: JoyReader, message: Joy) -> None:
        try:
            pilot.feed(reader.hand(message.axes, message.buttons), self.now())
        except BadDevice as error:
            self._complain(str(error))
        else:
            self._note = ""

    def _commanded(self, message: Float64) -> None:
        for pilot in (self._pilot, self._page):
            pilot.feed_gripper(message.data < 0.5)

    def _follower(self, message: PoseStamped) -> None:
        self._measured = convert.pose_from(message.pose)

    def _leader_pose(self, message: PoseStamped) -> None:
        if self._device == "pose":
            self._leader.feed(convert.pose_from(message.pose), self.now())

    def _leader_joints(self, message: JointState) -> None:
        if self._device != "joints":
            return
        try:
            self._leader.feed(leader_pose(list(message.position)), self.now())
        except BadDevice as error:
            self._complain(str(error))

    def _leader_clutch(self, message: Bool) -> None:
        self._clutch = message.data

    def _leader_gripper(self, message: Float64) -> None:
        if self._following and 0.0 <= message.data <= 1.0:
            self._gripper.publish(message)

    def _hand_back(self) -> None:
        if self._select.service_is_ready():
            self._select.call_async(SelectSource.Request(source=int(Source.POLICY)))
        else:
            self._complain("the commander does not answer; start it to hand the arm back")

    def _complain(self, text: str) -> None:
        self._note = text
        self.get_logger().warning(text, throttle_duration_sec=2.0)


def main() -> None:
    run(TeleopNode)


if __name__ == "__main__":
    main()
