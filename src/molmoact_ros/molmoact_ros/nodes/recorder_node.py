"""The recorder node: episodes of every configured topic, started and labelled by an operator.

It decodes nothing: messages come as bytes (raw_topics.py) and go into a bag (bags/take.py). This
node only turns services and an action into calls of bags/recorder.py, and its views into topics.
"""

from __future__ import annotations

import time
from pathlib import Path

from molmoact_msgs.msg import EpisodeEvent, EpisodeStatus, SessionStatus
from rclpy.qos import QoSProfile

from molmoact_ros.bags.pictures import Codec
from molmoact_ros.bags.recorder import Recorder
from molmoact_ros.bags.recorder_types import Refused, Settings, State
from molmoact_ros.bags.recovery import recover_all
from molmoact_ros.bags.session import BadSession
from molmoact_ros.bags.topics import BadTopic, parse_topics
from molmoact_ros.nodes.episode_messages import event_message, session_message, status_message
from molmoact_ros.nodes.raw_topics import RawTopics
from molmoact_ros.nodes.record_action import RecordAction
from molmoact_ros.nodes.recorder_services import RecorderServices
from molmoact_ros.nodes.runtime import LATCHED_QOS, OK, WARN, ManagedNode, SetupError, run

POLL_S = 0.1
STATUS_S = 0.5


class RecorderNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("recorder")
        declare = self.declare
        declare("folder", "~/molmoact_episodes", "where episodes are written, one folder each")
        declare("topics", [""], "lines of: /name package/msg/Type [rate=HZ] [required]")
        declare("jpeg", True, "store colour images as JPEG; false: as they come")
        declare("jpeg_quality", 92, "90..95 is what training wants", (50, 100))
        declare("png_depth", True, "store 16-bit depth as PNG (exact); false: as it comes")
        declare("compress_threads", 1, "threads that compress images", (1, 8))
        declare("reserve_mb", 512, "disk space left alone, in MB", (1, 1_000_000))
        declare("robot", "Franka FR3", "what moves, in words")
        declare("cameras", 2, "pictures the policy is asked with", (1, 2))
        declare("operator_name", "", "who records")
        declare("tasks", [""], "instructions of a session, in order")
        declare("wanted", 0, "successes per task, 0: no goal", (0, 100_000))
        declare("scene_change_every", 0, "successes between scenes, 0: never", (0, 1000))
        self._recorder: Recorder | None = None
        self._raw: RawTopics | None = None
        self._said = ""

    def setup(self) -> None:
        root = Path(str(self.value("folder"))).expanduser()
        try:
            specs = parse_topics([str(line) for line in self.value("topics")])
        except BadTopic as bad:
            raise SetupError(f"parameter topics: {bad}") from bad
        if not specs:
            raise SetupError("parameter topics is empty: list at least one topic to record")
        self._recover(root)
        codec = Codec(self.value("jpeg"), self.value("jpeg_quality"), self.value("png_depth"))
        self._recorder = Recorder(
            Settings(
                root=root,
                specs=specs,
                codec=codec,
                workers=int(self.value("compress_threads")),
                reserve=int(self.value("reserve_mb")) << 20,
                robot=str(self.value("robot")),
                event_topic=f"{self.get_fully_qualified_name()}/event",
                cameras=int(self.value("cameras")),
            )
        )
        try:
            self._recorder.session.configure(
                tasks=[task for task in self.value("tasks") if task],
                wanted=int(self.value("wanted")),
                scene_change_every=int(self.value("scene_change_every")),
                operator=str(self.value("operator_name")),
            )
        except BadSession as bad:
            raise SetupError(f"parameter tasks: {bad}") from bad
        self._status = self.create_publisher(EpisodeStatus, "~/status", LATCHED_QOS)
        self._session = self.create_publisher(SessionStatus, "~/session", LATCHED_QOS)
        self._event = self.create_publisher(EpisodeEvent, "~/event", QoSProfile(depth=10))
        self._action = RecordAction(self, self._recorder, self._begin)
        self._asked = RecorderServices(self, self._recorder, self._begin, self._publish)
        self.create_timer(POLL_S, self._poll)
        self.create_timer(STATUS_S, self._publish)

    def start(self) -> None:
        recorder = self._recorder
        assert recorder is not None, "start follows setup"
        self._raw = RawTopics(
            self.context,
            recorder.settings.specs,
            recorder.intake.on_topic,
            recorder.intake.on_message,
        )
        self._raw.start()

    def halt(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if self._recorder is None:
            return WARN, "not configured", {}
        view = self._recorder.view()
        level = WARN if view.warnings else OK
        told = view.warnings[0] if view.warnings else view.detail
        return level, told, {"messages": view.messages, "dropped": view.dropped}

    def _begin(self, task: str, operator: str, max_duration: float) -> str:
        if not self.active or self._recorder is None:
            raise Refused("the recorder node is not active: activate it first")
        if self._raw is not None and self._raw.problems:
            self.get_logger().warning("; ".join(self._raw.problems.values()))
        return self._recorder.start(task, operator, max_duration)

    def _poll(self) -> None:
        recorder = self._recorder
        if recorder is None or not self.active:
            return
        before = recorder.state
        recorder.poll()
        while recorder.events:
            self._event.publish(event_message(recorder.events.pop(0)))
        self._action.poll()
        self._asked.poll()
        if recorder.state != before:
            self.get_logger().info(recorder.view().detail)
            self._publish()

    def _publish(self) -> None:
        if self._recorder is None or not self.active:
            return
        stamp = self.get_clock().now().to_msg()
        view = self._recorder.view()
        status = status_message(view, stamp)
        self._status.publish(status)
        self._session.publish(session_message(self._recorder.session, stamp))
        recording = view.state == State.RECORDING
        if recording:
            self._action.tell(status)
        worst = view.warnings[0] if view.warnings and recording else ""
        if worst and worst != self._said:
            self.get_logger().warning(worst, throttle_duration_sec=2.0)
        self._said = worst

    def _recover(self, root: Path) -> None:
        began = time.monotonic()
        saved, problems = recover_all(root)
        for problem in problems:
            self.get_logger().error(f"not recovered: {problem}")
        for one in saved:
            self.get_logger().warning(f"an episode had been cut off; recovered {one.sentence}")
        if saved:
            self.get_logger().info(f"recovery took {time.monotonic() - began:.1f} s")


def main() -> None:
    run(RecorderNode)


if __name__ == "__main__":
    main()
