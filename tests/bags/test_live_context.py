"""What a new bag begins with: the newest word about every frame, of every broadcaster."""

from __future__ import annotations

import sys
from pathlib import Path

from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage

sys.path.insert(0, str(Path(__file__).parent))
from bag_helpers import text, topic

from molmoact_ros.bags.live_context import DESCRIPTION, STATIC, LiveContext

PLACES = topic(STATIC, "tf2_msgs/msg/TFMessage", latched=True)


def placed(x: float, *frames: str) -> bytes:
    """A broadcaster's message that hangs ``frames`` at ``x`` metres."""
    message = TFMessage()
    for frame in frames:
        stamped = TransformStamped(child_frame_id=frame)
        stamped.header.frame_id = "fr3_link0"
        stamped.transform.translation.x = x
        message.transforms.append(stamped)
    return bytes(serialize_message(message))


def kept(*messages: bytes) -> list[bytes]:
    context = LiveContext()
    for number, data in enumerate(messages):
        context.keep(PLACES, number, data)
    return [data for _, _, data in context.latched()]


def test_every_broadcaster_is_kept() -> None:
    cameras, table = placed(1.0, "external", "wrist"), placed(0.2, "table")
    assert kept(cameras, table) == [cameras, table]


def test_a_camera_that_was_calibrated_anew_loses_its_old_pose() -> None:
    old, table, new = (
        placed(1.0, "external", "wrist"),
        placed(0.2, "table"),
        placed(1.1, "wrist", "external"),
    )
    assert kept(old, table, new) == [table, new]


def test_what_the_newer_message_does_not_place_stays() -> None:
    both, one = placed(1.0, "external", "wrist"), placed(1.1, "external")
    assert kept(both, one) == [both, one], "the newest comes last and wins"


def test_unreadable_transforms_are_kept_as_they_are() -> None:
    assert kept(b"no message", placed(1.0, "wrist")) == [b"no message", placed(1.0, "wrist")]


def test_another_robot_replaces_the_first() -> None:
    context = LiveContext()
    about = topic(DESCRIPTION, "std_msgs/msg/String", latched=True)
    for words in ("first", "second"):
        context.keep(about, 0, text(words))
    assert [data for _, _, data in context.latched()] == [text("second")]
