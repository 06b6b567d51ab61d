"""A robot that can be hit: faults, reflexes and true forces on top of franky-sim's arm server.

franky-sim 1.0.4 speaks libfranka's protocol for an arm that nothing ever happens to. This
subclass adds what a safety test needs: collision thresholds that stop a motion, user stop,
errors only a person can clear, a cut network cable, a client that stopped sending.
"""

from __future__ import annotations

import logging
import struct
from typing import Any

import numpy as np
from franky_sim.franka_robot_protocol import MoveStatus, RobotCommand, RobotMode
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.franka_robot_state import FrankaRobotState
from franky_sim.franka_server import BaseCommand, FrankaServer

from molmoact_ros.sim.contacts import ExternalForce
from molmoact_ros.sim.franka_protocol import (
    ABORT_STATUS,
    ARM_COMMANDS,
    CollisionThresholds,
    Fault,
    RobotError,
)
from molmoact_ros.sim.wheel import private, rebind_commands_to

logger = logging.getLogger(__name__)

ERROR_COUNT = 41  # libfranka include/franka/errors.h
NO_ERRORS = (False,) * ERROR_COUNT
# The robot gives up after 20 missed packets. A loaded two-core machine pauses a healthy client
# for longer than that, and a stopped client must still not keep its last torque forever.
LOST_PACKET_LIMIT = 250
# Where a motion command datagram holds numbers: motion generator targets, then torques
# (libfranka common, research_interface robot/service_types: RobotCommand).
_NUMBERS = ((8, 38), (314, 7))


class ArmServer(FrankaRobotServer):  # type: ignore[misc]
    """One FR3 at ``host``: ports 1337 (arm) and 1338 (hand), loopback only."""

    def __init__(self, robot: Any, host: str) -> None:
        super().__init__(robot, [host])
        self.fault: Fault | None = None
        self.commands_received = 0
        self.thresholds: CollisionThresholds | None = None
        self.force = ExternalForce.zero()
        self._errors = NO_ERRORS
        self._last_motion_errors = NO_ERRORS
        self._pending_abort: tuple[int, MoveStatus] | None = None
        self._frozen_ticks = 0
        self._missed = 0
        private(self, FrankaServer, "command_class_map").update(ARM_COMMANDS)

    @property
    def moving(self) -> bool:
        return bool(self.current_motion_id)

    def feel(self, force: ExternalForce) -> None:
        """Take this step's external force; a motion beyond the thresholds ends in a reflex."""
        self.force = force
        limits = self.thresholds
        if limits is None or not self.moving or self.fault is not None:
            return
        # Real robots compare in both frames' axes only loosely documented; base axes here.
        if (np.abs(force.wrench) > limits.upper_wrench).any():
            self.trip(Fault.REFLEX, RobotError.CARTESIAN_REFLEX)
        elif (np.abs(force.torques) > limits.upper_torques).any():
            self.trip(Fault.REFLEX, RobotError.JOINT_REFLEX)

    def trip(self, fault: Fault, error: RobotError | None = None) -> None:
        """Enter ``fault``: a running motion is aborted and the arm holds where it IS.

        Not where it was told to be: a commanded pose inside the table would keep pressing.
        """
        self.fault = fault
        self._errors = tuple(i == error for i in range(ERROR_COUNT))
        self._last_motion_errors = self._errors
        motion = self.current_motion_id
        self._reset_state()
        if motion:
            self._pending_abort = (motion, ABORT_STATUS[fault])
        logger.info("arm fault %s %s", fault.value, error.name if error is not None else "")

    def clear(self) -> None:
        """End any fault, as releasing the user stop or acknowledging in Desk would."""
        self.fault = None
        self._errors = NO_ERRORS

    def freeze(self, ticks: int) -> None:
        """Cut the network for ``ticks`` steps: nothing is received or sent, physics goes on."""
        self._frozen_ticks = max(self._frozen_ticks, ticks)

    def motion_started(self) -> None:
        self._last_motion_errors = NO_ERRORS
        self._missed = 0

    def process_commands(self) -> None:
        if self._frozen_ticks:
            self._frozen_ticks -= 1
            self._pre_process_commands()
            self._post_process_commands()
            return
        for server in (self, self.gripper_server):
            try:
                FrankaServer.process_commands(server)
            except (struct.error, KeyError, ValueError, ConnectionError) as error:
                # One bad client must not end the physics everyone else watches.
                logger.warning("dropped a client that does not speak libfranka (%r)", error)
                server.reset_state()
                server._post_process_commands()

    def send_state(self) -> None:
        if self._frozen_ticks:
            return
        try:
            super().send_state()
        except OSError as error:
            logger.warning("state not sent: %s", error)
        # The state goes first: libfranka reads the reasons from it when the abort arrives.
        if self._pending_abort and self._tcp_socket is not None:
            motion, status = self._pending_abort
            BaseCommand.send_response(self._tcp_socket, RobotCommand.kMove, motion, status)
        self._pending_abort = None

    @property
    def robot_state(self) -> FrankaRobotState:
        force, limits = self.force, self.thresholds
        changes: dict[str, Any] = {
            "tau_ext_hat_filtered": force.torques.tolist(),
            "O_F_ext_hat_K": force.wrench.tolist(),
            "K_F_ext_hat_K": force.local_wrench.tolist(),
            "errors": self._errors,
            "reflex_reason": self._last_motion_errors,
        }
        if limits is not None:
            wrench, torques = np.abs(force.wrench), np.abs(force.torques)
            changes["cartesian_contact"] = (wrench > limits.lower_wrench).tolist()
            changes["cartesian_collision"] = (wrench > limits.upper_wrench).tolist()
            changes["joint_contact"] = (torques > limits.lower_torques).tolist()
            changes["joint_collision"] = (torques > limits.upper_torques).tolist()
        if self.fault is Fault.USER_STOP:
            changes["robot_mode"] = RobotMode.kUserStopped
        elif self.fault is not None:
            changes["robot_mode"] = RobotMode.kReflex
        state = super().robot_state
        # A fresh copy that nobody else holds: another replace() would cost 13 us a tick.
        state.__dict__.update(changes)
        return state

    def _handle_udp_command(self, command_data: bytes) -> None:
        for offset, count in _NUMBERS:
            if not np.isfinite(np.frombuffer(command_data, "<f8", count, offset)).all():
                logger.warning("a motion command with NaN or infinity was ignored")
                return
        self.commands_received += 1
        self._missed = 0
        super()._handle_udp_command(command_data)

    def _post_process_commands(self) -> None:
        if self.moving:
            self._missed += 1
            if self._missed > LOST_PACKET_LIMIT:
                self.trip(Fault.REFLEX, RobotError.COMMUNICATION_CONSTRAINTS_VIOLATION)
        super()._post_process_commands()

    def _setup_udp_connection(self, network_udp_port: int) -> None:
        super()._setup_udp_connection(network_udp_port)
        rebind_commands_to(self, self.hostname)
