"""The action ``~/record_episode``: one goal, one episode; cancel stops and saves it."""

from __future__ import annotations

import contextlib

from molmoact_msgs.action import RecordEpisode
from molmoact_msgs.msg import EpisodeStatus
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from molmoact_ros.bags.recorder import Recorder
from molmoact_ros.bags.recorder_types import Ending, Refused, State
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.episode_messages import health_messages
from molmoact_ros.nodes.recorder_services import Begin

ENDED_WELL = (Ending.STOPPED, Ending.TIMED_OUT)


class RecordAction:
    """``poll`` notices the end of the episode, however it came; ``tell`` sends feedback."""

    def __init__(self, node: Node, recorder: Recorder, begin: Begin) -> None:
        self._node, self._recorder, self._begin = node, recorder, begin
        self._goal: tuple[ServerGoalHandle, Future] | None = None
        self._server = ActionServer(
            node,
            RecordEpisode,
            "~/record_episode",
            execute_callback=self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT,
            cancel_callback=self._cancel,
        )

    def poll(self) -> None:
        if self._goal is not None and self._recorder.state in (State.IDLE, State.UNLABELLED):
            self._goal[1].set_result(None)
            self._goal = None

    def tell(self, status: EpisodeStatus) -> None:
        if self._goal is not None:
            self._goal[0].publish_feedback(RecordEpisode.Feedback(status=status))

    async def _execute(self, handle: ServerGoalHandle) -> RecordEpisode.Result:
        goal, result = handle.request, RecordEpisode.Result()
        try:
            self._begin(goal.task, goal.operator_name, convert.seconds(goal.max_duration))
        except Refused as refusal:
            result.reason, result.message = result.WRITER_ERROR, str(refusal)
            handle.abort()
            return result
        done = Future(executor=self._node.executor)
        self._goal = (handle, done)
        await done
        ended = self._recorder.result
        assert ended is not None, "an episode that ended has a result"
        result.reason, result.message = int(ended.ending), ended.message
        result.bag_path, result.topics = str(ended.path), health_messages(ended.topics)
        if handle.is_cancel_requested:
            handle.canceled()
        elif ended.ending in ENDED_WELL:
            handle.succeed()
        else:
            handle.abort()
        return result

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._goal is not None and self._goal[0] is handle:
            # It may just have ended by itself; the result then says how.
            with contextlib.suppress(Refused):
                self._recorder.finish(Ending.CANCELED, "canceled by the action's client")
        return CancelResponse.ACCEPT
