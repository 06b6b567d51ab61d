"""One connection to the robot, from the first reading to the loss of the cable.

A state machine without a thread: franky_arm.py ticks it at 100 Hz and owns it. Anything that
goes wrong leaves a method as one of franky_link.ERRORS and comes back through ``fail``.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from molmoact_ros.control.guards import Limits
from molmoact_ros.robot import franky_link as link
from molmoact_ros.robot.base import ArmState, refuse, resolve
from molmoact_ros.robot.faults import Fault, Kind, RecoveryBudget, classify
from molmoact_ros.robot.reference import ReferenceTrack

logger = logging.getLogger(__name__)

RECOVERY_DELAY_S = 0.5
CLEAR_TRIES, CLEAR_WAIT_S = 50, 0.01
MOVING = ("tracking", "homing", "stopping")
AT_REST = "the arm is at rest and disarmed"


class Session:
    """Connected from the constructor on, which raises one of franky_link.ERRORS."""

    def __init__(
        self,
        config: link.FrankyConfig,
        limits: Limits,
        track: ReferenceTrack,
        budget: RecoveryBudget,
    ) -> None:
        self._config, self._limits, self._track, self._budget = config, limits, track, budget
        self._robot = link.connect(config)
        self._raw: Any = self._robot.state
        self._tool = link.Tool(np.asarray(self._raw.F_T_EE.matrix))
        self._motion: Any = None
        self._mode, self._note = "idle", ""
        self._fault: Fault | None = None
        self._fault_at = 0.0
        self._waiting: list[tuple[str, Future[str]]] = []
        self.want_armed = False

    def resume(self, armed: bool, now: float) -> None:
        """After a reconnection: clear what the loss left behind and follow again if allowed."""
        errors = self._errors()
        if not armed and not errors:
            return
        lost_only = not errors or classify("", errors).kind is Kind.COMMUNICATION
        if self._user_stopped() or not lost_only or not self._budget.spend(now):
            self._note = "the connection came back; look at the arm, then recover and arm"
            return
        if not self._clear_errors():
            self._set_fault(classify("", self._errors()), now)
        elif armed:
            self._follow(now)

    def tick(self, now: float) -> None:
        """Once every 10 ms."""
        finished = self._robot.poll_motion() if self._mode in MOVING else False
        self._raw = self._robot.state
        if self._mode == "tracking":
            self._feed(now, finished)
        elif finished:
            self._arrived(now)
        if self._fault is not None:
            self._watch(self._fault, now)

    def serve(self, what: str, future: Future[str], now: float) -> None:
        """Do what was asked, now or as soon as the arm is at rest."""
        if what in ("stop", "disarm"):
            self._stop(what, future)
            return
        refusal = self._refusal(what)
        if refusal:
            refuse(future, refusal)
        elif what == "recover":
            self._recover(future)
        elif what == "arm":
            if self._mode != "tracking":
                self._follow(now)
            resolve(future, "armed: following references from here")
        elif self._mode == "tracking":  # home: a torque motion has to end first
            self.want_armed = False
            self._waiting = [(what, future)]
            self._begin_stop()
        else:
            self._robot.move(link.home_motion(self._config), asynchronous=True)
            self._mode, self._note, self._waiting = "homing", "", [(what, future)]

    def fail(self, error: BaseException, now: float) -> None:
        """A motion ended with ``error``. Raises again when even the state cannot be read."""
        self._raw = self._robot.state
        fault = classify(str(error), self._errors(), self._raw.robot_mode.name)
        self._set_fault(fault, now)
        self.drop(fault.detail)

    def drop(self, reason: str) -> None:
        """Tell everybody who waits that it will not happen."""
        for _, future in self._waiting:
            refuse(future, reason)
        self._waiting = []

    def close(self) -> None:
        """Bring the arm to rest."""
        self.drop("the driver is shutting down")
        if self._mode not in MOVING:
            return
        if self._mode != "stopping":
            self._begin_stop()
        self._robot.join_motion(timeout=3.0)

    def reading(self, stamp: float, now: float) -> ArmState:
        """The state of this tick."""
        raw, mode, detail = self._raw, self._mode, self._note
        if self._user_stopped():
            mode, detail = "user_stopped", Fault(Kind.USER_STOP).detail
        elif mode == "tracking" and self._track.age(now) > self._limits.command_age_hold_s:
            mode = "holding"
        return replace(
            link.read(raw, self._tool, stamp),
            armed=self._mode == "tracking",
            mode=mode,
            detail=detail,
            recoveries=self._budget.total,
        )

    def _follow(self, now: float) -> None:
        here = self._tool.tcp(self._robot.state.O_T_EE)
        self._motion = link.tracking_motion(self._robot, here, self._tool, self._config)
        self._track.reset(here, now)
        self._robot.move(self._motion, asynchronous=True)
        self._mode, self.want_armed, self._note, self._fault = "tracking", True, "", None

    def _feed(self, now: float, finished: bool) -> None:
        if finished:
            raise RuntimeError("the impedance motion ended by itself")
        pose, twist = self._track.take(now)
        self._motion.set_reference(self._tool.reference(pose, twist))
        if self._track.age(now) > self._limits.command_age_stop_s:
            self.want_armed = False
            self._note = (
                f"disarmed: no reference came for {self._limits.command_age_stop_s:g} s; "
                "start the commander, then arm"
            )
            logger.warning(self._note)
            self._begin_stop()

    def _begin_stop(self) -> None:
        stop = link.joint_stop() if self._mode == "homing" else link.torque_stop()
        self._robot.move(stop, asynchronous=True)
        self._mode = "stopping"

    def _arrived(self, now: float) -> None:
        """A homing or stopping motion has ended: tell whoever waits, do what comes next."""
        done, self._mode = self._mode, "idle"
        waiting, self._waiting = self._waiting, []
        for what, future in waiting:
            if what == "home" and done == "stopping":
                self.serve(what, future, now)
            else:
                resolve(future, "the arm is at home" if what == "home" else AT_REST)

    def _stop(self, what: str, future: Future[str]) -> None:
        self.want_armed = False
        if self._mode not in MOVING:
            resolve(future, AT_REST)
            return
        if self._mode != "stopping":
            self._begin_stop()
        keep = [entry for entry in self._waiting if entry[0] != "home"]
        self._waiting = [entry for entry in self._waiting if entry[0] == "home"]
        self.drop("the arm was stopped meanwhile")
        self._waiting = [*keep, (what, future)]

    def _recover(self, future: Future[str]) -> None:
        try:
            done = self._clear_errors()
        except link.ERRORS as error:
            if link.is_network(error):
                raise
            fault = classify(str(error), self._errors(), self._raw.robot_mode.name)
            refuse(future, f"not recovered. {fault.detail}")
            return
        if not done:
            refuse(future, "the robot still reports errors; open Desk and look there")
            return
        self._mode, self._fault, self._note = "idle", None, ""
        resolve(future, "recovered; arm to go on")

    def _refusal(self, what: str) -> str:
        if self._user_stopped():
            return Fault(Kind.USER_STOP).detail
        if self._mode in ("homing", "stopping"):
            return f"the arm is {self._mode}; wait until it is at rest"
        if what == "recover":
            return "the arm has no fault; nothing to recover" if self._mode == "tracking" else ""
        if self._fault is not None:
            return self._fault.detail
        if self._errors():
            return classify("", self._errors()).detail
        return ""

    def _watch(self, fault: Fault, now: float) -> None:
        """Clear an automatic fault after a moment; a user stop on top makes it a person's."""
        if self._user_stopped():
            if fault.kind is not Kind.USER_STOP:
                self._set_fault(Fault(Kind.USER_STOP), now)
        elif fault.automatic and self.want_armed and now - self._fault_at > RECOVERY_DELAY_S:
            if not self._budget.spend(now):
                self.want_armed = False
                self._note = f"recovered too often within a minute. {fault.detail}"
            elif self._clear_errors():
                logger.warning("recovered from: %s", fault.kind.value)
                self._follow(now)
            else:
                self._set_fault(Fault(Kind.MANUAL, fault.errors, "recovery refused"), now)

    def _set_fault(self, fault: Fault, now: float) -> None:
        self._mode, self._fault, self._fault_at, self._note = "fault", fault, now, fault.detail
        self.want_armed = self.want_armed and fault.automatic
        logger.warning(fault.detail)

    def _clear_errors(self) -> bool:
        """Ask the robot to clear its errors; whether it did.

        franky's own answer is about a state read before the robot has acted, so it is not used.
        """
        self._robot.recover_from_errors()
        for _ in range(CLEAR_TRIES):
            self._raw = self._robot.state
            if not self._errors() and self._raw.robot_mode.name != "Reflex":
                return True
            time.sleep(CLEAR_WAIT_S)
        return False

    def _user_stopped(self) -> bool:
        return bool(self._raw.robot_mode.name == "UserStopped")

    def _errors(self) -> tuple[str, ...]:
        return link.error_names(self._raw.current_errors)
