"""A robot that can be hit: faults, reflexes and true forces on top of franky-sim's arm server.

franky-sim 1.0.4 speaks libfranka's protocol for an arm that nothing ever happens to. This
subclass adds what a safety test needs: collision thresholds that stop a motion, user stop,
errors only a person can clear, a cut network cable, a client that stopped sending.
"""

from __future__ import annotations

import logging
import math
import struct

import numpy as np
from franky_sim.franka_robot_protocol import MoveStatus, RobotCommand, RobotMode, UDPCommand
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.franka_server import BaseCommand, FrankaServer

from molmoact_ros.sim.contacts import ExternalForce
from molmoact_ros.sim.franka_protocol import (
    ABORT_STATUS,
    ARM_COMMANDS,
    CollisionThresholds,
    Fault,
    RobotError,
)
from molmoact_ros.sim.quick_robot import QuickRobot
from molmoact_ros.sim.state_message import ERROR_COUNT, check_layout
from molmoact_ros.sim.wheel import private, process_what_waits, rebind_commands_to

logger = logging.getLogger(__name__)

NO_ERRORS = bytes(ERROR_COUNT)
# The robot gives up after 20 missed packets. A loaded two-core machine pauses a healthy client
# for longer than that, and a stopped client must still not keep its last torque forever.
LOST_PACKET_LIMIT = 250
# A motion command's numbers (libfranka common, research_interface robot/service_types:
# RobotCommand); between and behind them lie its counter and flags.
_TARGETS, _TORQUES = slice(1, 39), slice(41, 48)
_LARGEST_DATAGRAM = 2048
# The hand's state travels less often than the arm's; who asks for it waits for the next one.
_HAND_STATE_EVERY = 10
_FAULT_MODES = {
    Fault.REFLEX: RobotMode.kReflex,
    Fault.USER_STOP: RobotMode.kUserStopped,
    Fault.MANUAL: RobotMode.kReflex,
}


class ArmServer(FrankaRobotServer):  # type: ignore[misc]
    """One FR3 at ``host``: ports 1337 (arm) and 1338 (hand), loopback only."""

    def __init__(self, robot: QuickRobot, host: str) -> None:
        super().__init__(robot, [host])
        self.fault: Fault | None = None
        self.commands_received = 0
        self.thresholds: CollisionThresholds | None = None
        self.force = ExternalForce.zero()
        self._errors = NO_ERRORS
        self._last_motion_errors = NO_ERRORS
        self._pending_abort: tuple[int, MoveStatus] | None = None
        self._sent: tuple[ExternalForce | None, CollisionThresholds | None] = (None, None)
        self._running: tuple[object, object] = (None, None)
        self._sent_modes = (0, 0)
        self._ticks = 0
        self._frozen_ticks = 0
        self._missed = 0
        check_layout()
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
        self._errors = bytes(i == error for i in range(ERROR_COUNT))
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
        servers = (self, self.gripper_server)
        for server, process in zip(servers, process_what_waits(servers), strict=True):
            try:
                process()
            except (struct.error, KeyError, ValueError, ConnectionError) as error:
                # One bad client must not end the physics everyone else watches.
                logger.warning("dropped a client that does not speak libfranka (%r)", error)
                server.reset_state()
                server._post_process_commands()

    def send_state(self) -> None:
        if self._frozen_ticks:
            return
        self._ticks += 1
        try:
            FrankaServer.send_state(self)
            if self._ticks % _HAND_STATE_EVERY == 0:
                self.gripper_server.send_state()
        except OSError as error:
            logger.warning("state not sent: %s", error)
        # The state goes first: libfranka reads the reasons from it when the abort arrives.
        if self._pending_abort and self._tcp_socket is not None:
            motion, status = self._pending_abort
            BaseCommand.send_response(self._tcp_socket, RobotCommand.kMove, motion, status)
        self._pending_abort = None

    def _get_state_bytes(self) -> bytes:
        message = self.robot.message
        felt = self.force, self.thresholds
        if felt[0] is not self._sent[0] or felt[1] is not self._sent[1]:
            self._describe(*felt)
            self._sent = felt
        if self.fault is not None:
            mode = _FAULT_MODES[self.fault]
        else:
            mode = RobotMode.kMove if self.moving else RobotMode.kIdle
        return message.pack(self._modes(), self._errors, self._last_motion_errors, mode)

    def _describe(self, force: ExternalForce, limits: CollisionThresholds | None) -> None:
        field = self.robot.message.field
        field("tau_ext_hat_filtered")[:] = force.torques
        field("O_F_ext_hat_K")[:] = force.wrench
        field("K_F_ext_hat_K")[:] = force.local_wrench
        if limits is not None:
            wrench, torques = np.abs(force.wrench), np.abs(force.torques)
            field("cartesian_contact")[:] = wrench > limits.lower_wrench
            field("cartesian_collision")[:] = wrench > limits.upper_wrench
            field("joint_contact")[:] = torques > limits.lower_torques
            field("joint_collision")[:] = torques > limits.upper_torques

    def _modes(self) -> tuple[int, int]:
        """Motion generator and controller mode, which the wheel derives from what runs."""
        motion = private(self, FrankaRobotServer, "control_mode")
        controller = private(self, FrankaRobotServer, "impedance_control_mode")
        if (motion, controller) != self._running:
            state = self.robot_state
            self._running = motion, controller
            self._sent_modes = state.motion_generator_mode.value, state.controller_mode.value
        return self._sent_modes

    def _process_udp_commands(self) -> None:
        socket = private(self, FrankaServer, "udp_socket")
        while socket is not None:
            try:
                datagram = socket.recv(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            if len(datagram) == UDPCommand.STRUCT.size:
                self._handle_udp_command(datagram)
            else:
                logger.warning("a datagram that is no motion command was ignored")

    def _handle_udp_command(self, command_data: bytes) -> None:
        numbers = UDPCommand.STRUCT.unpack(command_data)
        # One sum instead of a question to each: NaN and infinity survive it.
        if not math.isfinite(sum(numbers[_TARGETS]) + sum(numbers[_TORQUES])):
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
