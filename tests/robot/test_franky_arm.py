"""The real franky against a simulated FR3 that can be stopped, hit and unplugged.

Outcomes only: this machine may be slow, the arm must still end in the right place and state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("franky", reason="needs franky-control, see requirements/sim.txt")
pytest.importorskip("franky_sim", reason="needs franky-sim, see requirements/sim.txt")

from molmoact_ros.control.command import Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.kinematics import FLANGE_FROM_TCP
from molmoact_ros.geometry import Pose
from molmoact_ros.robot.base import Arm, ArmError
from molmoact_ros.robot.config import HOME, FrankyConfig
from molmoact_ros.robot.franky_arm import FrankyArm
from molmoact_ros.robot.franky_link import Tool
from molmoact_ros.sim.control_channel import SimControl

Eventually = Callable[..., None]
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def sim(sim_host: str) -> SimControl:
    return SimControl(sim_host)


@pytest.fixture
def arm(sim_host: str, sim: SimControl, eventually: Eventually) -> Iterator[FrankyArm]:
    sim.fault("release")
    sim.reset(0, home=True)
    arm = FrankyArm(FrankyConfig(host=sim_host))
    arm.start()
    try:
        eventually(lambda: arm.state().connected)
        if arm.state().errors:
            arm.recover().result(10.0)
        yield arm
    finally:
        arm.close()
        sim.fault("release")


def stream(arm: Arm, path: Callable[[float], Pose], seconds: float, hz: float) -> list[str]:
    """Send ``path`` (seconds since now) at ``hz``; returns the refusals."""
    start, refusals = time.monotonic(), []
    while (now := time.monotonic() - start) < seconds:
        refusals.append(arm.set_reference(path(now)))
        time.sleep(1.0 / hz)
    return [text for text in refusals if text]


def circle(centre: Pose, radius: float = 0.04, period: float = 6.0) -> Callable[[float], Pose]:
    def path(t: float) -> Pose:
        angle = 2 * np.pi * t / period
        offset = radius * np.array([np.cos(angle) - 1.0, np.sin(angle), 0.0])
        return Pose(centre.position + offset, centre.quaternion)

    return path


def distance(a: Pose, b: Pose) -> float:
    return float(np.linalg.norm(a.position - b.position))


def test_it_connects_disarmed_and_reads_the_tool_centre(arm: FrankyArm) -> None:
    """current_pose must be fr3_hand_tcp: an offset here would miss every object."""
    import mujoco
    from franky_sim import mujoco_simulator

    state = arm.state()
    assert not state.armed and state.mode == "idle" and state.detail == ""
    sim = mujoco_simulator.MujocoSimulator()
    sim.init()
    sim.add_robot(initial_q=tuple(state.q))
    sim.start()
    mujoco.mj_kinematics(sim.model, sim.data)
    hand = sim.data.body("robot0_hand")
    rotation = hand.xmat.reshape(3, 3)
    truth = hand.xpos + 0.1034 * rotation[:, 2]
    np.testing.assert_allclose(state.ee.position, truth, atol=1e-4)
    np.testing.assert_allclose(state.ee.matrix[:3, :3], rotation, atol=1e-3)
    sim.cleanup()


def test_another_end_effector_in_desk_is_converted() -> None:
    """With no hand chosen in Desk the robot reports its flange, 10 cm higher and turned."""
    tool = Tool(np.eye(4))
    assert not tool.same and tool.offset_m == pytest.approx(0.1034)
    flange = Pose(np.array([0.4, 0.1, 0.5]), np.array([1.0, 0.0, 0.0, 0.0]))

    class Affine:
        matrix = flange.matrix

    tcp = tool.tcp(Affine())
    np.testing.assert_allclose(tcp.matrix, flange.matrix @ FLANGE_FROM_TCP, atol=1e-9)
    spin = np.array([0.0, 0.0, 0.0, 0.5, 0.0, 0.0])
    reference = tool.reference(tcp, spin)
    np.testing.assert_allclose(reference.target.matrix, flange.matrix, atol=1e-9)
    np.testing.assert_allclose(
        reference.target_twist.linear, np.cross(spin[3:], [0, 0, 0.1034]), atol=1e-9
    )


def test_an_unarmed_arm_does_not_move(arm: FrankyArm) -> None:
    """Connecting must never move anything."""
    before = arm.state().ee
    assert "arm it first" in arm.set_reference(before)
    arm.set_reference(Pose(before.position + 0.01, before.quaternion))
    time.sleep(0.3)
    assert distance(arm.state().ee, before) < 1e-3


def test_a_smooth_15_hz_stream_is_tracked(arm: FrankyArm) -> None:
    """The policy's rate; more error than this and the fingers miss a 4 cm cube."""
    assert "armed" in arm.arm().result(10.0)
    centre = arm.state().ee
    path = circle(centre)
    line = np.array([path(t).position for t in np.linspace(0.0, 6.0, 600)])
    start, errors = time.monotonic(), []
    while (now := time.monotonic() - start) < 6.0:
        assert arm.set_reference(path(now)) == ""
        time.sleep(1 / 15)
        # Distance to the line, not to the moment: a loaded machine simulates slowly.
        errors.append(np.linalg.norm(line - arm.state().ee.position, axis=1).min())
    assert arm.state().mode == "tracking" and arm.state().errors == ()
    assert np.sqrt(np.mean(np.square(errors))) < 0.006
    assert max(errors) < 0.015
    assert stream(arm, lambda t: centre, 2.0, 15.0) == []
    assert distance(arm.state().ee, centre) < 0.004
    assert "at rest" in arm.disarm().result(10.0)
    time.sleep(0.1)
    assert not arm.state().armed and arm.state().mode == "idle"


def test_damaged_references_are_refused_and_the_arm_stays(arm: FrankyArm) -> None:
    """Last line: NaN, jumps and poses outside the box stop here whoever sent them."""
    arm.arm().result(10.0)
    here = arm.state().ee
    nan = Pose(np.array([np.nan, 0.0, 0.3]), here.quaternion)
    far = Pose(here.position + np.array([0.2, 0.0, 0.0]), here.quaternion)
    below = Pose(np.array([here.position[0], here.position[1], -0.2]), here.quaternion)
    assert "finite" in arm.set_reference(nan)
    assert "jumps" in arm.set_reference(far)
    assert arm.set_reference(below) != ""
    assert arm.set_reference(here, np.full(6, np.inf)) != ""
    time.sleep(0.2)
    assert distance(arm.state().ee, here) < 2e-3


def test_silence_holds_and_then_disarms(arm: FrankyArm, eventually: Eventually) -> None:
    """franky's tracker would follow its last reference for ever."""
    arm.arm().result(10.0)
    stream(arm, circle(arm.state().ee), 0.5, 50.0)
    eventually(lambda: arm.state().mode == "holding")
    assert arm.state().armed
    eventually(lambda: not arm.state().armed and arm.state().mode == "idle")
    assert "no reference came" in arm.state().detail
    assert np.abs(arm.state().dq).max() < 0.1


def test_a_reflex_is_cleared_and_the_arm_goes_on_from_where_it_is(
    arm: FrankyArm, sim: SimControl, eventually: Eventually
) -> None:
    """A touch must not end the day, and must not be answered with a jump."""
    arm.arm().result(10.0)
    here = arm.state().ee
    stream(arm, lambda t: here, 0.3, 50.0)
    before = arm.state().recoveries
    sim.fault("reflex")
    eventually(lambda: "cartesian_reflex" in arm.state().errors)
    assert not arm.state().ready and "collision reflex" in arm.state().detail
    eventually(lambda: arm.state().ready)
    assert arm.state().recoveries == before + 1 and arm.state().errors == ()
    assert stream(arm, lambda t: here, 0.5, 50.0) == []
    assert distance(arm.state().ee, here) < 5e-3


def test_recovery_gives_up_after_three_times(
    arm: FrankyArm, sim: SimControl, eventually: Eventually
) -> None:
    """An arm that is hit again and again waits for a person."""
    arm.arm().result(10.0)
    for count in range(1, 4):
        sim.fault("reflex")
        eventually(lambda: not arm.state().ready)
        eventually(lambda count=count: arm.state().ready and arm.state().recoveries == count)
    sim.fault("reflex")
    eventually(lambda: "too often" in arm.state().detail)
    assert not arm.state().ready and arm.state().recoveries == 3
    assert "recovered" in arm.recover().result(10.0)
    assert "armed" in arm.arm().result(10.0)


def test_a_user_stop_is_left_by_people_only(
    arm: FrankyArm, sim: SimControl, eventually: Eventually
) -> None:
    """The black button: no automatic recovery, and words that say what to do."""
    arm.arm().result(10.0)
    sim.fault("user_stop")
    eventually(lambda: arm.state().mode == "user_stopped")
    assert "release the user stop" in arm.state().detail
    for ask in (arm.recover, arm.arm, arm.home):
        with pytest.raises(ArmError, match="release the user stop"):
            ask().result(10.0)
    sim.fault("release")
    time.sleep(1.0)
    assert not arm.state().armed
    with pytest.raises(ArmError, match="user stop"):
        arm.arm().result(10.0)
    assert "recovered" in arm.recover().result(10.0)
    assert "armed" in arm.arm().result(10.0)


def test_a_manual_error_needs_desk(arm: FrankyArm, sim: SimControl, eventually: Eventually) -> None:
    """A joint beyond its limit is moved back by a person's hands, not by a retry."""
    arm.arm().result(10.0)
    sim.fault("manual")
    eventually(lambda: arm.state().mode == "fault")
    time.sleep(0.8)
    assert arm.state().recoveries == 0 and "Desk" in arm.state().detail
    with pytest.raises(ArmError, match="Desk"):
        arm.recover().result(10.0)


def test_a_cut_cable_is_waited_out(arm: FrankyArm, sim: SimControl, eventually: Eventually) -> None:
    """The robot object is dead after a network loss; the driver must build a new one."""
    arm.arm().result(10.0)
    here = arm.state().ee
    sim.fault("freeze", 1500)
    eventually(lambda: not arm.state().connected)
    assert "check the cable" in arm.state().detail
    assert "cable" in arm.set_reference(here)
    eventually(lambda: arm.state().ready, 40.0)
    assert stream(arm, lambda t: here, 0.5, 50.0) == []
    assert distance(arm.state().ee, here) < 1e-2


def test_a_crash_of_the_driver_brings_the_arm_to_rest(
    arm: FrankyArm, sim: SimControl, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """franky goes on without its Python thread; a mistake of ours must not leave it moving."""
    arm.arm().result(10.0)
    monkeypatch.setattr("threading.excepthook", lambda args: None)

    def broken(now: float) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(arm._track, "take", broken)
    eventually(lambda: not arm.state().connected)
    assert "crashed" in arm.state().detail
    eventually(lambda: not sim.stats()["moving"])
    with pytest.raises(ArmError):
        arm.arm().result(10.0)


def test_nobody_there_is_said_and_tried_again(eventually: Eventually) -> None:
    """A wrong address must not hang the node."""
    arm = FrankyArm(FrankyConfig(host="127.0.0.213", gripper=False))
    arm.start()
    eventually(lambda: "127.0.0.213" in arm.state().detail and "cable" in arm.state().detail)
    with pytest.raises(ArmError, match="cannot reach"):
        arm.arm().result(10.0)
    arm.close()


def test_home_is_reached_from_armed_and_can_be_stopped(arm: FrankyArm) -> None:
    """Homing leaves the arm disarmed, and the stop wins against it."""
    arm.arm().result(10.0)
    here = arm.state().ee
    stream(arm, lambda t: Pose(here.position + [0, min(t * 0.05, 0.06), 0], here.quaternion), 2, 50)
    homing = arm.home()
    time.sleep(0.6)
    assert "at rest" in arm.stop().result(10.0)
    with pytest.raises(ArmError, match="stopped"):
        homing.result(10.0)
    assert "home" in arm.home().result(60.0)
    time.sleep(0.5)
    np.testing.assert_allclose(arm.state().q, HOME, atol=0.02)
    assert not arm.state().armed


def test_the_gripper_closes_and_opens_while_the_arm_tracks(
    arm: FrankyArm, eventually: Eventually
) -> None:
    """libfranka's gripper calls block; the arm's stream must not feel them."""
    arm.arm().result(10.0)
    here = arm.state().ee
    for opening, reached in ((0.0, lambda w: w < 0.01), (1.0, lambda w: w > 0.07)):
        arm.set_gripper(opening)
        assert stream(arm, lambda t: here, 2.0, 50.0) == []
        eventually(lambda reached=reached: reached(arm.state().gripper_width))
        assert arm.state().errors == () and arm.state().recoveries == 0
        if not arm.state().ready:  # silent for longer than the watchdog on a slow machine
            arm.arm().result(10.0)


def test_chunks_through_the_commander_arrive(arm: FrankyArm) -> None:
    """Commander and arm together: every row counts, nothing is refused, nothing is held."""
    commander = Commander()
    arm.arm().result(10.0)
    origin = arm.state().ee
    commander.feed_measured(origin.position, origin.quaternion, time.time())
    commander.step(time.time())
    commander.select_source(Source.POLICY, time.time())
    chunk = np.zeros((8, 7))
    chunk[:, 1], chunk[:, 2], chunk[:, 6] = 0.006, -0.004, 1.0
    refusals, told, end = [], False, time.monotonic() + 4.0
    while time.monotonic() < end:
        now, state = time.time(), arm.state()
        commander.feed_arm_ready(state.ready, state.detail)
        commander.feed_measured(state.ee.position, state.ee.quaternion, state.stamp)
        command = commander.step(now)
        if not told and time.monotonic() > end - 3.5:
            told = True
            refusals.append(commander.feed_chunk(chunk, now, now, "goal"))
        assert command.pose is not None
        refusals.append(arm.set_reference(command.pose, command.twist))
        time.sleep(0.02)
    assert [text for text in refusals if text] == []
    moved = arm.state().ee.position - origin.position
    np.testing.assert_allclose(moved, [0.0, 0.048, -0.032], atol=0.005)
