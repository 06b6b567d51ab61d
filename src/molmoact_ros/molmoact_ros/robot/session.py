"""One connection to the robot, from the first reading to the loss of the cable.

A state machine without a thread: franky_arm.py ticks it at 100 Hz and owns it. Anything that
goes wrong leaves a method as one of franky_link.ERRORS and comes back through ``fail``.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from molmoact_ros.control.command import NOT_FOLLOWED
from molmoact_ros.control.limits import Limits
from molmoact_ros.robot import franky_link as link
from molmoact_ros.robot.base import ArmState, refuse, resolve
from molmoact_ros.robot.config import FrankyConfig
from molmoact_ros.robot.faults import Fault, Kind, RecoveryBudget, named
from molmoact_ros.robot.health import Health
from molmoact_ros.robot.reference import ReferenceTrack

logger = logging.getLogger(__name__)

RECOVERY_DELAY_S = 0.5
MOVES = {"home": "homing", "retreat": "retreating"}
"""Requests that move the arm by themselves, and the mode meanwhile."""
ARRIVED = {"home": "the arm is at home", "retreat": "the arm has retreated; arm to go on"}
MOVING = ("tracking", "stopping", *MOVES.values())
AT_REST = "the arm is at rest and disarmed"


class Session:
    """Connected from the constructor on, which raises one of franky_link.ERRORS."""

    def __init__(
        self,
        config: FrankyConfig,
        limits: Limits,
        track: ReferenceTrack,
        budget: RecoveryBudget,
    ) -> None:
        self._config, self._limits, self._track, self._budget = config, limits, track, budget
        self._robot = link.connect(config)
        self._health = Health(self._robot)
        self._tool = link.Tool(np.asarray(self._health.raw.F_T_EE.matrix))
        self._motion: Any = None
        self._mode, self._note = "idle", ""
        self._fault: Fault | None = None
        self._fault_at = 0.0
        self._waiting: list[tuple[str, Future[str]]] = []
        self.want_armed = False

    def resume(self, armed: bool, now: float) -> None:
        """After a reconnection: clear what the loss left behind and follow again if allowed."""
        errors = self._health.errors
        if not armed and not errors:
            return
        lost_only = not errors or self._health.fault().kind is Kind.COMMUNICATION
        stopped = self._health.user_stopped
        if stopped or not lost_only or not self._budget.spend(now, Kind.COMMUNICATION):
            self._note = "the connection came back; look at the arm, then recover and arm"
            return
        if not self._health.clear():
            self._set_fault(self._health.fault(), now)
        elif armed:
            self._follow(now)

    def tick(self, now: float) -> None:
        """Once every 10 ms."""
        finished = self._robot.poll_motion() if self._mode in MOVING else False
        self._health.refresh()
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
        elif self._mode == "tracking":  # a torque motion has to end first
            self.want_armed = False
            self._waiting = [(what, future)]
            self._begin_stop()
        else:
            self._robot.move(self._motion_to(what), asynchronous=True)
            self._mode, self._note, self._waiting = MOVES[what], "", [(what, future)]

    def fail(self, error: BaseException, now: float) -> None:
        """A motion ended with ``error``. Raises again when even the state cannot be read."""
        self._health.refresh()
        fault = self._health.fault(str(error))
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
        mode, detail = self._mode, self._note
        if self._health.user_stopped:
            mode, detail = "user_stopped", Fault(Kind.USER_STOP).detail
        elif mode == "tracking":
            refusal = self._track.refusal(now)
            detail = NOT_FOLLOWED + refusal if refusal else ""
            if self._track.age(now) > self._limits.command_age_hold_s:
                mode = "holding"
        return replace(
            link.read(self._health.raw, self._tool, stamp),
            armed=self._mode == "tracking",
            mode=mode,
            detail=detail,
            recoveries=self._budget.total,
            recovered=named(self._budget.counts),
            faults=named(self._budget.faults),
        )

    def _motion_to(self, what: str) -> Any:
        if what == "home":
            return link.home_motion(self._config)
        here = self._tool.tcp(self._robot.state.O_T_EE)
        return link.retreat_motion(self._config, here, self._tool)

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
            silence = f"disarmed: no reference came for {self._limits.command_age_stop_s:g} s; "
            reason = self._track.refusal(now, np.inf)
            self._note = (
                f"disarmed: the references are not followed: {reason}; then arm"
                if reason
                else f"{silence}start the commander, then arm"
            )
            logger.warning(self._note)
            self._begin_stop()

    def _begin_stop(self) -> None:
        stops = {"homing": link.joint_stop, "retreating": link.cartesian_stop}
        self._robot.move(stops.get(self._mode, link.torque_stop)(), asynchronous=True)
        self._mode = "stopping"

    def _arrived(self, now: float) -> None:
        """A motion of our own has ended: tell whoever waits, do what comes next."""
        done, self._mode = self._mode, "idle"
        waiting, self._waiting = self._waiting, []
        for what, future in waiting:
            if what in MOVES and done == "stopping":
                self.serve(what, future, now)
            else:
                resolve(future, ARRIVED.get(what, AT_REST))

    def _stop(self, what: str, future: Future[str]) -> None:
        self.want_armed = False
        if self._mode not in MOVING:
            resolve(future, AT_REST)
            return
        if self._mode != "stopping":
            self._begin_stop()
        keep = [entry for entry in self._waiting if entry[0] not in MOVES]
        self._waiting = [entry for entry in self._waiting if entry[0] in MOVES]
        self.drop("the arm was stopped meanwhile")
        self._waiting = [*keep, (what, future)]

    def _recover(self, future: Future[str]) -> None:
        try:
            done = self._health.clear()
        except link.ERRORS as error:
            if link.is_network(error):
                raise
            fault = self._health.fault(str(error))
            refuse(future, f"not recovered. {fault.detail}")
            return
        if not done:
            refuse(future, "the robot still reports errors; open Desk and look there")
            return
        self._mode, self._fault, self._note = "idle", None, ""
        resolve(future, "recovered; arm to go on")

    def _refusal(self, what: str) -> str:
        if self._health.user_stopped:
            return Fault(Kind.USER_STOP).detail
        if self._mode == "stopping" or self._mode in MOVES.values():
            return f"the arm is {self._mode}; wait until it is at rest"
        if what == "recover":
            return "the arm has no fault; nothing to recover" if self._mode == "tracking" else ""
        if self._fault is not None:
            return self._fault.detail
        if self._health.errors:
            return self._health.fault().detail
        return ""

    def _watch(self, fault: Fault, now: float) -> None:
        """Clear an automatic fault after a moment; a user stop on top makes it a person's."""
        if self._health.user_stopped:
            if fault.kind is not Kind.USER_STOP:
                self._set_fault(Fault(Kind.USER_STOP), now)
        elif fault.automatic and self.want_armed and now - self._fault_at > RECOVERY_DELAY_S:
            if not self._budget.spend(now, fault.kind):
                self.want_armed = False
                self._note = f"recovered too often within a minute. {fault.detail}"
            elif self._health.clear():
                logger.warning("recovered from: %s", fault.kind.value)
                self._follow(now)
            else:
                self._set_fault(Fault(Kind.MANUAL, fault.errors, "recovery refused"), now)

    def _set_fault(self, fault: Fault, now: float) -> None:
        self._mode, self._fault, self._fault_at, self._note = "fault", fault, now, fault.detail
        self._budget.faults[fault.kind] += 1
        self.want_armed = self.want_armed and fault.automatic
        logger.warning(fault.detail)
