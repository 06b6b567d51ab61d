"""What an operator may ask of the recorder: the service twins of its action, and the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from molmoact_msgs.srv import ConfigureSession, LabelEpisode, SelectTask, StartEpisode
from rclpy.node import Node
from std_srvs.srv import Trigger

from molmoact_ros.bags.recorder import Recorder
from molmoact_ros.bags.recorder_types import Ending, Refused, State
from molmoact_ros.bags.session import BadSession

OUTCOMES = {0: "success", 1: "failure", 2: "discard", 3: ""}
"""LabelEpisode's numbers; a NOTE keeps the outcome."""
Begin = Callable[[str, str, float], str]


class RecorderServices:
    """``begin(task, operator, max_duration)`` starts an episode; ``changed`` after every answer."""

    def __init__(
        self, node: Node, recorder: Recorder, begin: Begin, changed: Callable[[], None]
    ) -> None:
        self._recorder, self._begin, self._changed = recorder, begin, changed
        self._again = ""
        self._logger = node.get_logger()
        service = node.create_service
        service(StartEpisode, "~/start", self._start)
        service(Trigger, "~/stop", self._trigger(self._stop))
        service(Trigger, "~/discard", self._trigger(self._discard))
        service(Trigger, "~/redo", self._trigger(self._redo))
        service(Trigger, "~/scene_changed", self._trigger(self._scene_changed))
        service(LabelEpisode, "~/label_episode", self._label)
        service(ConfigureSession, "~/configure_session", self._configure)
        service(SelectTask, "~/select_task", self._select)

    def poll(self) -> None:
        """Start the take that a redo asked for, once the discarded one is on the disk."""
        if self._again and self._recorder.state in (State.IDLE, State.UNLABELLED):
            task, self._again = self._again, ""
            try:
                self._begin(task, "", 0.0)
            except Refused as refusal:
                self._logger.error(f"not started again: {refusal}")

    def _start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        try:
            response.episode_id = self._begin(
                request.task, request.operator_name, request.max_duration
            )
            response.accepted, response.message = True, f"recording {response.episode_id}"
        except Refused as refusal:
            response.message = str(refusal)
        self._changed()
        return response

    def _stop(self) -> str:
        self._recorder.finish(Ending.STOPPED, "stopped by the operator")
        return "saving: label it success or failure"

    def _discard(self) -> str:
        return self._recorder.label("", "discard")

    def _redo(self) -> str:
        task = self._recorder.view().task
        self._recorder.label("", "discard")
        self._again = task
        return f"discarded; starting again: {task}"

    def _scene_changed(self) -> str:
        self._recorder.session.scene_changed()
        return "thanks: go on"

    def _label(
        self, request: LabelEpisode.Request, response: LabelEpisode.Response
    ) -> LabelEpisode.Response:
        try:
            if request.outcome not in OUTCOMES:
                raise Refused(f"outcome {request.outcome}: 0 success, 1 failure, 2 discard, 3 note")
            response.message = self._recorder.label(
                request.episode_id, OUTCOMES[request.outcome], request.note
            )
            response.accepted = True
        except Refused as refusal:
            response.message = str(refusal)
        self._changed()
        return response

    def _configure(
        self, request: ConfigureSession.Request, response: ConfigureSession.Response
    ) -> ConfigureSession.Response:
        try:
            self._recorder.session.configure(
                tasks=list(request.tasks),
                wanted=request.wanted,
                scene_change_every=request.scene_change_every,
                operator=request.operator_name,
                scene=request.scene,
            )
            response.accepted = True
            response.message = self._recorder.session.task or "no task list"
        except BadSession as bad:
            response.message = str(bad)
        self._changed()
        return response

    def _select(
        self, request: SelectTask.Request, response: SelectTask.Response
    ) -> SelectTask.Response:
        try:
            response.task = self._recorder.session.select(request.index)
            response.accepted, response.message = True, "ready"
        except BadSession as bad:
            response.message = str(bad)
        self._changed()
        return response

    def _trigger(self, act: Callable[[], str]) -> Callable[[Any, Any], Any]:
        def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message, response.success = act(), True
            except Refused as refusal:
                response.message = str(refusal)
            self._changed()
            return response

        return callback
