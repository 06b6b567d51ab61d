"""The simulated arm through the real franky client, in a process of its own.

One arm serves the tests of this file; each leaves it at rest and without fault.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import franky
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molmoact_ros.sim.control_channel import SimControl, SimControlError
from molmoact_ros.sim.process import SimProcess
from molmoact_ros.sim.scene import HOME_TCP
from molmoact_ros.sim.shared import Snapshot, SnapshotReader, snapshot_name

SEED = 3
RELATIVE = franky.ReferenceType.Relative
ControlError = franky.ControlException


def connect(host: str) -> franky.Robot:
    robot = franky.Robot(host, realtime_config=franky.RealtimeConfig.Ignore)
    robot.relative_dynamics_factor = 0.15
    robot.set_collision_behavior([20.0] * 7, [40.0] * 7, [20.0] * 6, [40.0] * 6)
    return robot


def wait_until(condition: Callable[[], bool], patience: float = 20.0) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@dataclass
class Rig:
    host: str
    robot: franky.Robot
    gripper: franky.Gripper
    control: SimControl
    reader: SnapshotReader

    def look(self) -> Snapshot:
        return self.reader.read()

    def drift(self, z: float = 0.12) -> None:
        """A slow upward motion of some seconds in the background."""
        self.robot.relative_dynamics_factor = 0.03
        offset = franky.Affine([0.0, 0.0, -z])  # the tool's z axis points down
        self.robot.move(franky.CartesianMotion(offset, RELATIVE), asynchronous=True)
        assert wait_until(lambda: self.control.stats()["moving"])

    def error_of_motion(self) -> str:
        """The message with which the running motion ends."""
        with pytest.raises(ControlError) as caught:
            self.robot.join_motion(timeout=20.0)
        return str(caught.value)


@pytest.fixture(scope="module")
def server() -> Iterator[SimProcess]:
    with SimProcess.start(seed=SEED) as sim:
        yield sim


@pytest.fixture(scope="module")
def connection(server: SimProcess) -> Rig:
    host = server.host
    reader = SnapshotReader(snapshot_name(host), stale_after=10.0)
    return Rig(host, connect(host), franky.Gripper(host), SimControl(host, timeout=10), reader)


@pytest.fixture
def rig(connection: Rig) -> Iterator[Rig]:
    """At home, hand open, scene of SEED, thresholds 40 N and 40 Nm."""
    connection.robot.relative_dynamics_factor = 0.15
    if connection.look().qpos[7] < 0.037:
        connection.gripper.move(0.078, 0.1)
    connection.control.reset(SEED, home=True)
    yield connection
    connection.control.fault("release")
    connection.control.push([0, 0, 0], seconds=0)
    if connection.control.stats()["moving"]:
        with contextlib.suppress(ControlError):
            connection.robot.stop()
            connection.robot.join_motion(timeout=10.0)
    connection.robot.recover_from_errors()


def test_a_client_reads_the_home_pose(rig: Rig) -> None:
    """Robot state and ground truth must agree, or images and poses belong to two robots."""
    seen = rig.robot.state.O_T_EE
    truth = rig.look().tcp
    assert seen.translation == pytest.approx(truth.position, abs=1e-3)
    assert abs(np.dot(seen.quaternion, truth.quaternion)) == pytest.approx(1.0, abs=1e-4)
    assert truth.position == pytest.approx(HOME_TCP, abs=2e-3)


def test_a_relative_motion_arrives(rig: Rig) -> None:
    """The plainest motion: 3 cm down, to a millimetre, without any fault."""
    start = rig.look().tcp.position
    rig.robot.move(franky.CartesianMotion(franky.Affine([0.0, 0.0, 0.03]), RELATIVE))
    goal = start + [0, 0, -0.03]
    assert wait_until(lambda: np.linalg.norm(rig.look().tcp.position - goal) < 1e-3, 5)
    assert rig.robot.state.robot_mode == franky.RobotMode.Idle


def test_nothing_is_felt_at_rest(rig: Rig) -> None:
    """The wheel reports 20 Nm of gravity as external torque."""
    state = rig.robot.state
    assert np.abs(state.tau_ext_hat_filtered).max() < 0.5
    assert np.abs(state.O_F_ext_hat_K).max() < 0.5


def test_a_push_reaches_the_client(rig: Rig) -> None:
    """The wrench of the state message, with the robot's sign: what it exerts on the world."""
    rig.control.push([12.0, 0.0, -5.0], seconds=60)
    assert wait_until(lambda: rig.control.stats()["wrench"][0] < -11.9)
    state = rig.robot.state
    assert np.array(state.O_F_ext_hat_K)[:3] == pytest.approx([-12.0, 0.0, 5.0], abs=0.1)
    jacobian = np.array(rig.robot.model.zero_jacobian(franky.Frame.EndEffector, state))
    expected = jacobian.T @ np.array(state.O_F_ext_hat_K)
    assert np.array(state.tau_ext_hat_filtered) == pytest.approx(expected, abs=0.05)
    rig.control.push([0, 0, 0], seconds=0)
    assert wait_until(lambda: abs(rig.control.stats()["wrench"][0]) < 0.01)


def test_a_collision_ends_the_motion_in_a_reflex(rig: Rig) -> None:
    """The thresholds the driver sets are the ones that stop the arm; recovery frees it."""
    rig.drift()
    rig.control.push([0.0, 60.0, 0.0], seconds=0.5)
    assert "cartesian_reflex" in rig.error_of_motion()
    assert wait_until(lambda: rig.robot.state.robot_mode == franky.RobotMode.Reflex)
    assert rig.robot.state.current_errors.cartesian_reflex
    with pytest.raises(franky.CommandException):
        rig.robot.move(franky.JointMotion([0.0, -0.3, 0.0, -2.4, 0.0, 2.1, 0.8]))
    assert rig.robot.recover_from_errors()
    assert rig.robot.state.robot_mode == franky.RobotMode.Idle
    rig.robot.relative_dynamics_factor = 0.15
    height = rig.look().tcp.position[2]
    assert wait_until(lambda: abs(rig.control.stats()["wrench"][1]) < 1)
    rig.robot.move(franky.CartesianMotion(franky.Affine([0.0, 0.0, -0.02]), RELATIVE))
    assert wait_until(lambda: rig.look().tcp.position[2] > height + 0.018)


def test_a_push_below_the_thresholds_does_not_stop_the_motion(rig: Rig) -> None:
    """A reflex at any touch would make every grasp fail."""
    rig.drift(0.03)
    rig.control.push([0.0, 25.0, 0.0], seconds=0.3)
    assert rig.robot.join_motion(timeout=20.0)
    assert rig.control.stats()["fault"] is None


def test_a_reflex_holds_where_the_arm_is(rig: Rig) -> None:
    """Holding the commanded pose instead would keep pressing on whatever was hit."""
    rig.drift()
    rig.control.fault("reflex")
    rig.error_of_motion()
    before = rig.look().tcp.position
    time.sleep(0.3)
    assert rig.look().tcp.position == pytest.approx(before, abs=2e-3)


def test_a_user_stop_is_ended_by_a_person_only(rig: Rig) -> None:
    """Software must never talk its way out of a user stop."""
    rig.drift()
    rig.control.fault("user_stop")
    rig.error_of_motion()
    assert wait_until(lambda: rig.robot.state.robot_mode == franky.RobotMode.UserStopped)
    with pytest.raises(franky.CommandException):
        rig.robot.recover_from_errors()
    with pytest.raises(franky.CommandException):
        rig.robot.move(franky.JointMotion([0.0, -0.3, 0.0, -2.4, 0.0, 2.1, 0.8]))
    rig.control.fault("release")
    assert wait_until(lambda: rig.robot.state.robot_mode == franky.RobotMode.Idle)


def test_a_manual_error_refuses_automatic_recovery(rig: Rig) -> None:
    """Some errors need Desk; a driver that reports success for them lies."""
    rig.control.fault("manual")
    assert wait_until(lambda: rig.robot.state.robot_mode == franky.RobotMode.Reflex)
    with pytest.raises(franky.CommandException, match="manual error recovery"):
        rig.robot.recover_from_errors()
    rig.control.fault("release")
    assert rig.robot.recover_from_errors()


def test_the_hand_closes_and_opens(rig: Rig) -> None:
    """Width goes over the wire in metres; a driver maps 1 to open and 0 to closed."""
    assert rig.gripper.width == pytest.approx(0.078, abs=1e-3)
    rig.gripper.move(0.02, 0.1)
    assert rig.gripper.width == pytest.approx(0.02, abs=2e-3)
    assert rig.look().qpos[7:9].sum() == pytest.approx(0.02, abs=2e-3)
    rig.gripper.move(0.078, 0.1)
    assert rig.gripper.width == pytest.approx(0.078, abs=2e-3)


def test_a_cube_is_picked_up(rig: Rig) -> None:
    """Friction, finger force and reflex thresholds together: the whole point of the scene."""
    cube = rig.look().objects["green_cube"]
    yaw = (cube.yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
    turn = (Rotation.from_euler("z", yaw) * Rotation.from_quat([1.0, 0, 0, 0])).as_quat()

    def go(height: float) -> None:
        place = [float(cube.position[0]), float(cube.position[1]), height]
        rig.robot.move(franky.CartesianMotion(franky.Affine(place, turn)))

    go(0.15)
    go(0.02)
    wait_until(lambda: abs(rig.look().tcp.position[2] - 0.02) < 2e-3, 5)
    assert rig.gripper.grasp(0.0, 0.1, 40.0, 0.08, 0.08)
    assert rig.gripper.width == pytest.approx(0.04, abs=1e-3)
    go(0.18)
    assert wait_until(lambda: rig.look().objects["green_cube"].position[2] > 0.17, 5)
    assert rig.control.stats()["fault"] is None


def test_a_reset_moves_objects_and_not_the_arm(rig: Rig) -> None:
    """The scorer starts an episode by this; a stale generation would score the last one."""
    before = rig.look()
    generation = rig.control.reset(SEED + 1)
    after = rig.look()
    assert generation == before.generation + 1 == after.generation
    assert after.header.seed == SEED + 1
    moved = after.objects["red_cube"].position - before.objects["red_cube"].position
    assert np.linalg.norm(moved) > 0.01
    assert after.tcp.position == pytest.approx(before.tcp.position, abs=1e-4)
    rig.control.reset(SEED)
    again = rig.look().objects["red_cube"].position
    assert again == pytest.approx(before.objects["red_cube"].position, abs=1e-3)


def test_the_arm_is_not_teleported_during_a_motion(rig: Rig) -> None:
    """The client's controller would meet a jump of half a metre with full torque."""
    rig.drift()
    generation = rig.look().generation
    with pytest.raises(SimControlError, match="in motion"):
        rig.control.reset(SEED, home=True)
    assert rig.look().generation == generation
    assert rig.control.reset(SEED) == generation + 1  # objects alone are allowed


def test_snapshots_carry_the_wall_clock_of_their_step(rig: Rig) -> None:
    """Image stamps come from here: they must lie between asking and getting, and advance."""
    first = rig.look()
    assert wait_until(lambda: rig.look().sequence > first.sequence + 20)
    second = rig.look()
    assert first.wall_ns < second.wall_ns <= time.time_ns()
    assert second.sim_time - first.sim_time >= 0.1
    assert (second.sim_time * 1000) == pytest.approx(round(second.sim_time * 1000), abs=1e-3)


def test_statistics_count_motion_commands(rig: Rig) -> None:
    """The benchmark's proof that commands of a motion arrive at all."""
    before = rig.control.stats()
    rig.robot.move(franky.CartesianMotion(franky.Affine([0.0, 0.0, -0.02]), RELATIVE))
    after = rig.control.stats()
    assert after["udp_commands"] - before["udp_commands"] > 100
    assert after["ticks"] > before["ticks"]
    assert 0 < after["cpu"] < 4
    assert after["interval_ms"][0] <= after["interval_ms"][1] <= after["interval_ms"][2]


def test_impedance_tracking_follows_a_reference(rig: Rig) -> None:
    """The mode the driver uses: torques over the wire, no fault, reference reached."""
    start = rig.robot.current_pose.end_effector_pose
    motion = franky.CartesianImpedanceTrackingMotion(
        translational_stiffness=1500.0, rotational_stiffness=80.0
    )
    motion.set_reference(franky.CartesianReference(start))
    rig.robot.move(motion, asynchronous=True)
    goal = np.array(start.translation)
    for _ in range(60):
        goal = goal + [0, 0.0005, 0]
        motion.set_reference(franky.CartesianReference(franky.Affine(goal, start.quaternion)))
        time.sleep(0.01)
    assert wait_until(lambda: np.linalg.norm(rig.look().tcp.position - goal) < 6e-3, 5)
    rig.robot.move(franky.TorqueStopMotion())
    assert rig.control.stats()["fault"] is None


def test_a_cut_network_ends_the_connection_but_not_the_world(rig: Rig) -> None:
    """Last in this file: the Robot object is dead afterwards, a new one connects at once."""
    rig.drift()
    before = rig.look()
    rig.control.fault("freeze", ms=2500)
    with pytest.raises((franky.NetworkException, ControlError)):
        rig.robot.join_motion(timeout=30.0)
    assert rig.look().sim_time > before.sim_time  # cameras go on seeing the arm
    stats = rig.control.stats()
    assert (stats["fault"], stats["moving"]) == ("reflex", False)
    del rig.robot
    gc.collect()
    done: list[franky.Robot] = []
    thread = threading.Thread(target=lambda: done.append(connect(rig.host)), daemon=True)
    thread.start()
    thread.join(30)
    assert done
    rig.robot = done[0]
    assert rig.robot.recover_from_errors()
    assert rig.robot.state.robot_mode == franky.RobotMode.Idle
