"""The trainer node: fine-tuning as an action, with progress as feedback; cancel saves.

It trains in a process of its own (``train.background``), so that the robot's other nodes never
wait for it; one run at a time. Not part of a running robot: start it where there is a GPU.
"""

from __future__ import annotations

import time

from molmoact_msgs.action import FineTune
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import OK, ManagedNode, run
from molmoact_ros.train.background import STOP_WAIT_S, BackgroundTraining, Ended
from molmoact_ros.train.launch import MOST_PROCESSES, Launch
from molmoact_ros.train.recipe import BadRecipe


class TrainerNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("trainer")
        self.declare("data", "", "labelled data, A:B for several, for goals that name none")
        self.declare("out", "", "folder of the run, likewise")
        self.declare("base", "", "checkpoint to fine-tune, likewise")
        self.declare("size", "", "without base: a new network of this size, likewise")
        self.declare("preset", "post-train", "of molmoact train, likewise")
        self.declare("export_to", "", "folder for the finished checkpoint, likewise")
        self.declare("weights", "", "shares of these data sets, '0.9 0.1'; empty: by their sizes")
        self.declare("web", "", "folder of ordinary pictures with questions")
        self.declare("device", "", "cpu or cuda; empty: cuda if there is one")
        self.declare("processes", 1, "that train together on this computer", (1, MOST_PROCESSES))
        self.declare("options", "", "further words of molmoact train, '--unchecked'")
        self.declare("report_period", 1.0, "seconds between looks at the progress", (0.1, 60.0))
        self._training: BackgroundTraining | None = None
        self._handle: ServerGoalHandle | None = None
        self._done: Future | None = None

    def setup(self) -> None:
        self._actions = ActionServer(
            self,
            FineTune,
            "~/fine_tune",
            execute_callback=self._execute,
            goal_callback=self._accept,
            cancel_callback=self._cancel,
        )
        self.create_timer(float(self.value("report_period")), self._look)

    def halt(self) -> None:
        """Save and wait for it. Closing comes last: what the process said is read before."""
        training = self._training
        if training is None:
            return
        training.cancel()
        patience = time.monotonic() + STOP_WAIT_S
        while training.ended() is None and time.monotonic() < patience:
            time.sleep(0.05)
        self._end(training)

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if self._training is None:
            return OK, "waiting for a goal" if self.active else "not active", {}
        seen = self._training.progress
        return OK, f"training in {self._training.wanted.out}", {"step": seen.step, **seen.values}

    def _accept(self, goal: FineTune.Goal) -> GoalResponse:
        problem = "" if self.active else "the node is not active"
        if self._training is not None:
            problem = f"busy with {self._training.wanted.out}: cancel that goal first"
        try:
            self._wanted(goal)
        except BadRecipe as refusal:
            problem = problem or str(refusal)
        if problem:
            self.get_logger().error(f"goal refused: {problem}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._training is not None:
            self._training.cancel()
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> FineTune.Result:
        self._handle, self._done = handle, Future(executor=self.executor)
        wanted = self._wanted(handle.request)
        self._training = BackgroundTraining(wanted, wanted.command)
        self.get_logger().info(f"training in {self._training.wanted.out}")
        ended: Ended = await self._done
        result = FineTune.Result(message=ended.message, step=ended.step)
        if ended.finished:
            result.reason = result.FINISHED
            handle.succeed()
        elif ended.canceled and handle.is_cancel_requested:
            result.reason = result.CANCELED
            handle.canceled()
        else:
            result.reason = result.CANCELED if ended.canceled else result.FAILED
            handle.abort()
        self.get_logger().info(ended.message)
        return result

    def _wanted(self, goal: FineTune.Goal) -> Launch:
        """What the goal leaves empty is the node's parameter. Raises BadRecipe."""

        def value(name: str) -> str:
            return str(getattr(goal, name) or self.value(name))

        # A goal that says what to start from means only that.
        start = goal if goal.base or goal.size else None
        return Launch(
            data=value("data"),
            out=value("out"),
            base=start.base if start else value("base"),
            size=start.size if start else value("size"),
            preset=value("preset"),
            fields=tuple(goal.fields),
            export_to=value("export_to"),
            weights="" if goal.data else str(self.value("weights")),
            web=str(self.value("web")),
            device=str(self.value("device")),
            processes=int(self.value("processes")),
            options=str(self.value("options")),
        )

    def _look(self) -> None:
        training = self._training
        if training is None or self._handle is None or self._done is None:
            return
        if training.ended() is not None:
            self._end(training)
        elif training.poll():
            self._handle.publish_feedback(_feedback(training))

    def _end(self, training: BackgroundTraining) -> None:
        seen = training.progress.step
        ended = training.ended() or Ended(False, True, "it did not save in time: killed", seen)
        training.close()
        self._training = None
        if self._done is not None:
            self._done.set_result(ended)


def _feedback(training: BackgroundTraining) -> FineTune.Feedback:
    seen = training.progress
    return FineTune.Feedback(
        step=seen.step,
        steps=seen.steps,
        left=convert.to_duration(seen.left),
        loss=seen.loss,
        names=list(seen.values),
        values=list(seen.values.values()),
    )


def main() -> None:
    run(TrainerNode)
