"""An FR3 through franky: one thread owns the robot, everybody else reads snapshots.

The thread feeds an impedance tracker at 100 Hz. franky's tracker has no watchdog of its own, so
this one holds when references stop coming and disarms when they stay away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from molmoact_ros.control.limits import Limits, Refused
from molmoact_ros.control.margins import check_margins
from molmoact_ros.geometry import Floats, Pose
from molmoact_ros.robot import franky_link as link
from molmoact_ros.robot.base import ArmError, ArmState, refuse
from molmoact_ros.robot.config import FrankyConfig
from molmoact_ros.robot.faults import RecoveryBudget, classify
from molmoact_ros.robot.gripper import GripperReading, GripperThread
from molmoact_ros.robot.reference import ReferenceTrack, check_reference
from molmoact_ros.robot.session import Session

logger = logging.getLogger(__name__)

PERIOD_S = 0.01
BACK_OFF_S = (0.5, 1.0, 2.0, 5.0)
SPEED_MARGIN = 1.2


class FrankyArm:
    """The Arm of robot/base.py for a real FR3 or its simulator."""

    def __init__(
        self,
        config: FrankyConfig,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._clock, self._margins = config, clock, config.margins
        base = limits or Limits()
        # A little above the commander's speed: this guard is for streams that had none.
        self._limits = replace(
            base,
            speed_m_s=base.speed_m_s * SPEED_MARGIN,
            speed_rad_s=base.speed_rad_s * SPEED_MARGIN,
        )
        self._track = ReferenceTrack(self._limits)
        self._budget = RecoveryBudget(config.recoveries_per_minute)
        self._session: Session | None = None
        self._armed_before_loss = False
        self._next_try, self._tries = 0.0, 0
        self._state = ArmState(stamp=clock(), detail=f"connecting to {config.host}")
        self._requests: deque[tuple[str, Future[str]]] = deque()
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="franky", daemon=True)
        self._gripper = (
            GripperThread(lambda: link.gripper(config), link.ERRORS) if config.gripper else None
        )

    def start(self) -> None:
        self._running.set()
        self._thread.start()
        if self._gripper is not None:
            self._gripper.start()

    def close(self) -> None:
        self._running.clear()
        if self._thread.is_alive():
            self._thread.join(5.0)
        if self._gripper is not None:
            self._gripper.close()

    def state(self) -> ArmState:
        state = self._state
        hand = GripperReading() if self._gripper is None else self._gripper.reading
        return replace(
            state,
            gripper_width=hand.width,
            gripper_moving=hand.moving,
            gripper_holding=hand.holding,
            detail=state.detail or hand.detail,
        )

    def set_reference(self, pose: Pose, twist: Floats | None = None) -> str:
        state, now = self._state, time.monotonic()
        if not state.ready:
            return state.detail or f"the arm is {state.mode}; arm it first"
        try:
            checked = check_reference(pose.position, pose.quaternion, state.ee, self._limits)
            previous = self._track.target or state.ee
            check_margins(state.q, state.ee, previous, checked, self._margins)
            self._track.put(checked, twist, now)
        except Refused as refusal:
            self._track.refuse(str(refusal), now)
            return str(refusal)
        return ""

    def set_gripper(self, opening: float) -> None:
        if self._gripper is not None:
            self._gripper.set_opening(opening)

    def arm(self) -> Future[str]:
        return self._ask("arm")

    def disarm(self) -> Future[str]:
        return self._ask("disarm")

    def stop(self) -> Future[str]:
        return self._ask("stop")

    def recover(self) -> Future[str]:
        return self._ask("recover")

    def home(self) -> Future[str]:
        return self._ask("home")

    def retreat(self) -> Future[str]:
        return self._ask("retreat")

    def _ask(self, what: str) -> Future[str]:
        future: Future[str] = Future()
        if not self._running.is_set():
            refuse(future, "the driver is not running; call start first")
        elif what == "stop":
            self._requests.appendleft((what, future))
        else:
            self._requests.append((what, future))
        return future

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while self._running.is_set():
                due = max(due + PERIOD_S, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    self._tick(time.monotonic())
                except link.ERRORS as error:
                    self._failed(error, time.monotonic())
        finally:
            # Also after a mistake of ours: franky would hold the last reference for ever.
            crashed = self._running.is_set()
            self._running.clear()
            self._let_go("the driver crashed: read its log, then start it again" if crashed else "")

    def _tick(self, now: float) -> None:
        if self._session is None:
            self._refuse_all(self._state.detail)
            if now >= self._next_try:
                self._connect(now)
            return
        self._session.tick(now)
        while self._requests:
            self._session.serve(*self._requests.popleft(), now)
        self._state = self._session.reading(self._clock(), now)

    def _connect(self, now: float) -> None:
        self._session = Session(self._config, self._limits, self._track, self._budget)
        logger.info("connected to %s", self._config.host)
        again, self._armed_before_loss = self._armed_before_loss, False
        lost_before, self._tries = self._tries > 0, 0
        if lost_before:
            self._session.resume(again, now)

    def _failed(self, error: BaseException, now: float) -> None:
        if self._session is not None and not link.is_network(error):
            try:
                self._session.fail(error, now)
            except link.ERRORS as second:
                error = second
            else:
                self._state = self._session.reading(self._clock(), now)
                return
        self._lost(error, now)

    def _lost(self, error: BaseException, now: float) -> None:
        """franky's object is dead after a network error; only a new one connects again."""
        if self._session is not None:
            self._armed_before_loss = self._session.want_armed
            self._session.drop("the connection to the robot was lost")
        self._session = None
        detail = f"cannot reach the robot at {self._config.host}: {classify(str(error)).detail}"
        if isinstance(error, ArmError):
            detail = str(error)
        if self._tries == 0:
            logger.warning(detail)
        self._next_try = now + BACK_OFF_S[min(self._tries, len(BACK_OFF_S) - 1)]
        self._tries += 1
        self._state = replace(
            self._state, connected=False, armed=False, mode="disconnected", detail=detail
        )

    def _refuse_all(self, reason: str) -> None:
        while self._requests:
            what, future = self._requests.popleft()
            if what in ("stop", "disarm"):
                self._armed_before_loss = False
            refuse(future, reason)

    def _let_go(self, reason: str) -> None:
        if self._session is not None:
            try:
                self._session.close()
            except link.ERRORS as error:
                logger.warning("the arm was not brought to rest cleanly: %s", error)
        self._session = None
        reason = reason or "the driver is closed"
        self._refuse_all(reason)
        self._state = replace(
            self._state, connected=False, armed=False, mode="disconnected", detail=reason
        )
