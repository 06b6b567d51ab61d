"""The quick robot sends what franky-sim's own robot sends, tick for tick.

A difference would make clients plan other motions in simulation than with the wheel: franky
starts its trajectories from these derivatives.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from franky_sim.mujoco_simulator import MujocoSimulator

from molmoact_ros.sim.quick_robot import QuickSimulator
from molmoact_ros.sim.state_message import FLOATS, SIZE, StateMessage

HOME = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)
# Filled by the arm server from real contacts, and not at all by the wheel.
OWN = {"tau_ext_hat_filtered", "O_F_ext_hat_K", "K_F_ext_hat_K"}
OWN |= {"joint_contact", "joint_collision", "cartesian_contact", "cartesian_collision"}
Drive = Callable[[Any, int], None]


def _arm(simulator: Any) -> Any:
    simulator.init()
    robot = simulator.add_robot(initial_q=HOME, initial_hand_width=0.08)
    simulator.start()
    return robot


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any, Any, Any]]:
    wheel, quick = MujocoSimulator(), QuickSimulator()
    wheel_arm, quick_arm = _arm(wheel), _arm(quick)
    # The wheel's measured tool pose turns into the desired one without this copy.
    kinematics = wheel_arm.kinematics
    wheel_arm.kinematics = lambda q: kinematics(q).copy()
    yield wheel, wheel_arm, quick, quick_arm
    wheel.cleanup()
    quick.cleanup()


def _every_fourth(tick: int) -> bool:
    """A client whose packets get lost: most ticks repeat the last command."""
    return tick % 4 == 0


def joint_positions(arm: Any, tick: int) -> None:
    arm.joint_position_control(np.array(HOME) + 0.02 * np.sin(tick / 40 + np.arange(7)))


def late_joint_positions(arm: Any, tick: int) -> None:
    held = tick - tick % 4
    target = np.array(HOME) + 0.02 * np.sin(held / 40 + np.arange(7))
    arm.joint_position_control(target, _every_fourth(tick))


def joint_velocities(arm: Any, tick: int) -> None:
    arm.joint_velocity_control(0.1 * np.sin(tick / 30 + np.arange(7)), tick % 3 == 0)


def torques(arm: Any, tick: int) -> None:
    arm.torque_control(0.5 * np.sin(tick / 30 + np.arange(7)))


def tool_velocities(arm: Any, tick: int) -> None:
    arm.cartesian_velocity_control(0.05 * np.sin(tick / 50 + np.arange(6)), None)


def tool_poses(arm: Any, tick: int) -> None:
    if tick < 5:  # the server holds the joints before any motion
        arm.joint_position_control(np.array(HOME))
        return
    tool = [0.307 + 0.02 * np.sin(tick / 60), 0.01 * np.sin(tick / 45), 0.487, 1.0, 0.0, 0.0, 0.0]
    arm.cartesian_position_control(tool, None, tick % 2 == 0)


def one_after_another(arm: Any, tick: int) -> None:
    """What a client does that stops one motion and starts the next of another kind."""
    drives = (joint_positions, joint_velocities, torques, late_joint_positions)
    drives[tick // 50 % len(drives)](arm, tick)


DRIVES = (joint_positions, late_joint_positions, joint_velocities, torques, tool_velocities)


@pytest.mark.parametrize(
    "drive", [*DRIVES, tool_poses, one_after_another], ids=lambda drive: str(drive.__name__)
)
def test_every_field_equals_the_wheels(pair: tuple[Any, Any, Any, Any], drive: Drive) -> None:
    wheel, wheel_arm, quick, quick_arm = pair
    for tick in range(200):
        drive(wheel_arm, tick)
        drive(quick_arm, tick)
        wheel.step()
        quick.step()
        if tick % 10:
            continue
        state = wheel_arm.state
        for name in FLOATS:
            if name in OWN or not hasattr(state, name):
                continue
            wanted = np.ravel(getattr(state, name))
            got = quick_arm.message.field(name)
            # Rounding differs and 200 ticks of control carry it on.
            assert np.allclose(got, wanted, atol=1e-4, rtol=1e-4), (name, tick, got, wanted)


def test_the_message_is_the_one_the_wheel_packs(pair: tuple[Any, Any, Any, Any]) -> None:
    """Wrong order or size of a field would be read by libfranka as another quantity."""
    wheel, wheel_arm, quick, quick_arm = pair
    for tick in range(20):
        joint_positions(wheel_arm, tick)
        joint_positions(quick_arm, tick)
        wheel.step()
        quick.step()
    theirs = wheel_arm.state.pack_state()
    mine = quick_arm.message.pack((0, 0), bytes(41), bytes(41), 1)
    assert len(theirs) == len(mine) == SIZE
    at = 0
    for name, count in FLOATS.items():
        if name not in OWN:
            wanted = struct.unpack_from(f"<{count}f", theirs, at)
            got = struct.unpack_from(f"<{count}f", mine, at)
            assert np.allclose(got, wanted, atol=1e-5), (name, got, wanted)
        at += 4 * count


def test_errors_and_mode_stand_behind_the_numbers() -> None:
    errors = bytes(i == 7 for i in range(41))
    tail = StateMessage().pack((3, 5), errors, bytes(41), 4)[4 * sum(FLOATS.values()) :]
    assert tail[:2] == bytes((3, 5))
    assert tail[2:43] == errors
    assert tail[84] == 4
    assert struct.unpack("<f", tail[85:89]) == (1.0,)


def test_a_reset_arm_reports_no_motion(pair: tuple[Any, Any, Any, Any]) -> None:
    """After joints were set by hand a jump of the derivatives would start the next motion."""
    _, _, quick, arm = pair
    for tick in range(50):
        joint_velocities(arm, tick)
        quick.step()
    quick.data.qpos[arm._qpos_addrs] = HOME
    quick.data.qvel[arm._dof_addrs] = 0.0
    arm.forget_motion()
    arm.joint_position_control(HOME)
    quick.step()
    assert np.abs(arm.message.field("ddq_d")).max() < 0.5
    assert np.abs(arm.message.field("dq_d")).max() < 0.01
