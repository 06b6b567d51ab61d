"""What the arm feels: contact forces against physics that can be worked out by hand."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from molmoact_ros.sim.contacts import ContactSensor, contact_forces
from molmoact_ros.sim.hand import HandDrive
from molmoact_ros.sim.quick_robot import QuickSimulator
from molmoact_ros.sim.scene import HOME_Q, add_tabletop, scene_spec, tcp_pose

CUBE_WEIGHT = 0.06 * 9.81


class Bench:
    """The scene stepped by hand, arm held at home by franky-sim's own controller."""

    def __init__(self) -> None:
        self.sim = QuickSimulator()
        self.sim.init()
        self.robot = self.sim.add_robot(initial_q=HOME_Q, initial_hand_width=0.078)
        add_tabletop(self.sim.scene, scene_spec(3))
        self.sim.start()
        self.model, self.data = self.sim.model, self.sim.data
        self.hand = HandDrive(self.robot, self.data)
        self.sensor = ContactSensor(self.model)
        self.target = np.array(HOME_Q)
        self.dofs = self.robot._dof_addrs

    def step(self, count: int) -> None:
        for _ in range(count):
            self.robot.joint_position_control(self.target)
            self.sim.step()
            self.force = self.sensor.update(self.data)

    def jacobian(self) -> np.ndarray:
        """[6, 7] of the tool centre, base axes."""
        p, r = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        point = tcp_pose(self.data).position
        mujoco.mj_jac(self.model, self.data, p, r, point, self.model.body("robot0_hand").id)
        return np.vstack([p, r])[:, self.dofs]

    def cube_into_the_hand(self) -> None:
        """Hold the red cube between the open fingers until they have closed on it."""
        cube = self.data.joint("red_cube_joint")
        place, turn = tcp_pose(self.data).position, self.data.body("robot0_hand").xquat.copy()
        self.robot.set_hand_goal(0.0, 0.05, 40.0)
        for _ in range(600):
            cube.qpos[:3], cube.qpos[3:], cube.qvel[:] = place, turn, 0.0
            self.step(1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_felt_in_free_space(bench: Bench) -> None:
    """The wheel reports gravity torques as external ones: every threshold would trip at rest."""
    bench.step(300)
    assert np.abs(bench.robot.state.tau_J).max() > 10
    assert bench.force.wrench.tolist() == [0.0] * 6
    assert bench.force.torques.tolist() == [0.0] * 7


def test_a_push_is_felt_with_the_robots_sign(bench: Bench) -> None:
    """The robot reports what it exerts on the world, so minus the push (libfranka issue 26)."""
    hand = bench.model.body("robot0_hand").id
    bench.data.xfrc_applied[hand, :3] = [8.0, -4.0, 6.0]
    bench.step(400)
    assert bench.force.wrench[:3] == pytest.approx([-8.0, 4.0, -6.0], abs=1e-3)
    lever = bench.data.xipos[hand] - tcp_pose(bench.data).position
    expected = np.cross(lever, [-8.0, 4.0, -6.0])
    assert bench.force.wrench[3:] == pytest.approx(expected, abs=0.01)


def test_torques_are_the_jacobian_times_the_wrench(bench: Bench) -> None:
    """Clients combine both estimates; on the robot tau_ext = J^T F (libfranka issue 112)."""
    hand = bench.model.body("robot0_hand").id
    bench.data.xfrc_applied[hand] = [5.0, 9.0, -7.0, 0.5, -0.3, 0.2]
    bench.step(600)
    mujoco.mj_kinematics(bench.model, bench.data)
    expected = bench.jacobian().T @ bench.force.wrench
    assert np.abs(expected).max() > 2
    assert bench.force.torques == pytest.approx(expected, abs=0.02)


def test_the_tool_frame_wrench_is_the_same_force_turned(bench: Bench) -> None:
    """K_F_ext_hat_K in the wrong axes would press when it should retreat: z points down here."""
    bench.data.xfrc_applied[bench.model.body("robot0_hand").id, :3] = [0.0, 0.0, 10.0]
    bench.step(300)
    assert bench.force.wrench[2] == pytest.approx(-10.0, abs=0.01)
    assert bench.force.local_wrench[2] == pytest.approx(10.0, abs=0.05)


def test_a_held_cube_weighs_what_it_weighs(bench: Bench) -> None:
    """40 N of squeeze must cancel between the fingers; only the cube's weight is external."""
    bench.cube_into_the_hand()
    bench.step(1000)
    assert bench.force.wrench[:3] == pytest.approx([0.0, 0.0, CUBE_WEIGHT], abs=0.1)
    assert np.abs(bench.force.torques).max() < 0.6


def test_contact_forces_are_mujocos_own(bench: Bench) -> None:
    """They are read straight from the solver's rows; a shifted row mixes force and friction."""
    bench.cube_into_the_hand()
    bench.step(50)
    data, contacts = bench.data, np.arange(bench.data.ncon)
    expected = np.zeros((data.ncon, 6))
    for i in contacts:
        mujoco.mj_contactForce(bench.model, data, i, expected[i])
    assert data.ncon > 30
    assert np.abs(expected[:, 0]).max() > 1
    assert np.array_equal(contact_forces(bench.model, data, contacts), expected)


def test_a_held_cube_does_not_creep(bench: Bench) -> None:
    """Soft or slippery fingertips lose a cube within a carry of some seconds."""
    bench.cube_into_the_hand()
    bench.step(500)
    cube = bench.data.body("red_cube")
    before = cube.xpos - tcp_pose(bench.data).position
    bench.step(3000)
    after = bench.data.body("red_cube").xpos - tcp_pose(bench.data).position
    assert after == pytest.approx(before, abs=5e-4)
    assert bench.robot.hand_width == pytest.approx(0.04, abs=5e-4)


def test_pressing_on_the_table_is_felt(bench: Bench) -> None:
    """A reflex against the table is the commonest one; its force must come from the contact."""
    for _ in range(3400):
        if tcp_pose(bench.data).position[2] < 0.004:
            break
        down = np.linalg.pinv(bench.jacobian()) @ np.array([0, 0, -0.1, 0, 0, 0])
        bench.target = bench.target + down * 0.001
        bench.step(1)
    bench.step(500)
    assert bench.force.wrench[2] < -5  # the robot pushes the table down
    friction = np.linalg.norm(bench.force.wrench[:2])
    assert friction < 1.5 * abs(bench.force.wrench[2])


def test_the_tool_pose_is_measured_not_desired(bench: Bench) -> None:
    """The wheel's O_T_EE silently equals O_T_EE_d: an arm stuck in the table looked on target."""
    bench.target = np.array(HOME_Q) + 0.05
    bench.step(30)
    state = bench.robot.state
    measured, desired = np.array(state.O_T_EE[12:15]), np.array(state.O_T_EE_d[12:15])
    assert np.linalg.norm(measured - desired) > 0.01
    mujoco.mj_kinematics(bench.model, bench.data)
    assert measured == pytest.approx(tcp_pose(bench.data).position, abs=1e-4)


@pytest.mark.parametrize("speed", [0.02, 0.05])
def test_fingers_keep_to_the_commanded_speed(bench: Bench, speed: float) -> None:
    """The wheel's fingers arrive at twice the speed and knock light cubes over."""
    bench.robot.set_hand_goal(0.0, speed, 40.0)
    widths = []
    for _ in range(500):
        bench.step(1)
        widths.append(bench.robot.hand_width)
    fastest = -np.diff(widths).min() / 0.001
    assert fastest < 2 * speed * 1.15
    assert fastest > 2 * speed * 0.9


def test_a_blocked_finger_does_not_snap_shut_when_freed(bench: Bench) -> None:
    """The speed limit must hold after a grasp too, when the cube slips out."""
    bench.cube_into_the_hand()
    bench.step(1000)
    bench.data.joint("red_cube_joint").qpos[:3] = [0.5, 0.4, 0.02]
    widths = [bench.robot.hand_width]
    for _ in range(600):
        bench.step(1)
        widths.append(bench.robot.hand_width)
    # The 40 N grip springs forward 2.5 mm a finger, then both travel at 0.05 m/s.
    assert widths[-1] < 0.003
    assert widths[150] > 0.016


def test_joints_beyond_the_touched_link_feel_nothing(bench: Bench) -> None:
    """A hit on the elbow bends the shoulder, not the wrist."""
    bench.data.xfrc_applied[bench.model.body("robot0_fr3_link4").id, :3] = [0.0, 20.0, 0.0]
    bench.step(300)
    assert np.abs(bench.force.torques[:4]).max() > 2
    assert bench.force.torques[4:].tolist() == [0.0, 0.0, 0.0]
