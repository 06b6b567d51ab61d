"""The direction test on an arm: steps by service, or guided in the terminal (`molmoact
direction-test`). What it asks and what counts as passed is in control/direction.py.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from molmoact_msgs.msg import ArmStatus, ChunkCommand, CommandStatus
from molmoact_msgs.srv import SelectSource
from std_msgs.msg import String
from std_srvs.srv import Trigger

from molmoact_ros.control.command import Source
from molmoact_ros.control.direction import DIRECTION_GOAL, STEPS, DirectionTest
from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import COMMAND_QOS, LATCHED_QOS, SENSOR_QOS, ManagedNode, run

PERIOD_S = 1.0 / 15.0
SETTLE_S = 1.0
"""After the last row: the controller lags 0.1 s, the person wants to look."""
RECORD = "~/.local/state/molmoact/direction_test.json"


class DirectionTestNode(ManagedNode):
    """Services ``~/next`` (do the step), ``~/confirm``, ``~/reject``; words on ``~/status``."""

    def __init__(self) -> None:
        super().__init__("direction_test")
        self.declare("record", RECORD, "file that says the test was passed")
        self.declare("base_frame", "fr3_link0", "frame of the steps")
        self.test = DirectionTest()
        self.words = ""
        self._pose: Pose | None = None
        self._armed, self._arm_words = False, "no status from the arm; start the franka node"
        self._command = CommandStatus(reason="no status from the commander; start it")
        self._before: Pose | None = None
        self._done_at: float | None = None
        self._gripper = 1.0
        self._chunk_id = 0
        self._goal = f"{DIRECTION_GOAL}/{uuid.uuid4().hex[:8]}"

    def setup(self) -> None:
        subscribe = self.create_subscription
        subscribe(PoseStamped, "current_pose", self._measured, SENSOR_QOS)
        subscribe(ArmStatus, "arm_status", self.hear_arm, LATCHED_QOS)
        subscribe(CommandStatus, "command_status", self.hear_commander, LATCHED_QOS)
        self._chunks = self.create_publisher(ChunkCommand, "policy/chunk", COMMAND_QOS)
        self._status = self.create_publisher(String, "~/status", LATCHED_QOS)
        self._select = self.create_client(SelectSource, "commander/select_source")
        self.create_service(Trigger, "~/next", _service(self.next_step))
        self.create_service(Trigger, "~/confirm", _service(self.confirm))
        self.create_service(Trigger, "~/reject", _service(self.reject))
        self._say(f"{len(STEPS)} steps; ~/next does the first")

    def start(self) -> None:
        if self._select.wait_for_service(timeout_sec=5.0):
            self._select.call_async(SelectSource.Request(source=int(Source.POLICY)))
        else:
            self._say("the commander does not answer; start it, then start this test again")

    @property
    def busy(self) -> bool:
        """Whether a step is still moving or settling."""
        return self._done_at is not None and time.monotonic() < self._done_at

    def next_step(self) -> tuple[bool, str]:
        """Do the current step, once; False and why when it cannot be done now."""
        step = self.test.step
        problem = self._problem()
        if step is None or self.busy or problem:
            return False, self._say(problem or self.test.failure or "wait: the arm still moves")
        if self._before is not None:
            return False, self._say(f"answer first: {step.question}")
        self._before = self._pose
        self._send(step.rows(self._gripper))
        return True, self._say(step.question)

    def confirm(self) -> tuple[bool, str]:
        return self._answer(True)

    def reject(self) -> tuple[bool, str]:
        return self._answer(False)

    def _answer(self, seen: bool) -> tuple[bool, str]:
        step = self.test.step
        if step is None or self._before is None or self._pose is None or self.busy:
            return False, self._say("no step is waiting for an answer; ~/next does one")
        wrong = step.disagreement(self._before, self._pose)
        self._before = None
        outcome = self.test.confirm(seen, wrong)
        if self.test.failure:
            self._write()
            return False, self._say(f"FAILED. {outcome}")
        if step.gripper is None:
            self._send(step.rows(self._gripper, -1.0))
        else:
            self._gripper = step.gripper
        if self.test.passed:
            self._write()
            return True, self._say("PASSED: every axis and the gripper agree; the policy may move")
        return True, self._say("good; ~/next does the next step")

    def _problem(self) -> str:
        if self._pose is None:
            return "no current_pose yet; start the franka node"
        if not self._armed:
            return f"the arm does not follow targets: {self._arm_words or 'arm it (~/arm)'}"
        if not self._command.enabled:
            return f"the commander is {self._command.reason}"
        return ""

    def _send(self, rows: Floats, final: bool = False) -> None:
        self._chunk_id += 1
        self._done_at = time.monotonic() + len(rows) * PERIOD_S + SETTLE_S
        now, base = self.get_clock().now().to_msg(), str(self.value("base_frame"))
        self._chunks.publish(
            convert.chunk_command(self._goal, self._chunk_id, now, base, rows, PERIOD_S, final)
        )

    def _write(self) -> None:
        path = Path(str(self.value("record"))).expanduser()
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record = self.test.record(when, str(self.value("base_frame")))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            self._say(f"the record cannot be written ({error}); choose another with record:=")
        self._send(np.zeros((0, 7)), final=True)

    def _say(self, text: str) -> str:
        self.words = text
        self._status.publish(String(data=text))
        return text

    def _measured(self, message: PoseStamped) -> None:
        self._pose = convert.pose_from(message.pose)

    def hear_arm(self, message: ArmStatus) -> None:
        self._armed = message.connected and message.armed
        self._arm_words = message.detail

    def hear_commander(self, message: CommandStatus) -> None:
        self._command = message


def _service(
    act: Callable[[], tuple[bool, str]],
) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = act()
        return response

    return callback


def main() -> None:
    run(DirectionTestNode)


if __name__ == "__main__":
    main()
