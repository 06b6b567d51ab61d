"""The simulator as a process: who may talk to it, how it ends, what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import franky
import pytest

from molmoact_ros.sim.control_channel import SimControl, SimControlError
from molmoact_ros.sim.process import SimProcess, SimProcessError, own_host
from molmoact_ros.sim.shared import (
    SHM_DIRECTORY,
    SnapshotError,
    SnapshotReader,
    SnapshotStaleError,
    snapshot_name,
)


def wait_until(condition: Callable[[], bool], patience: float = 20.0) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def connect(host: str) -> franky.Robot:
    return franky.Robot(host, realtime_config=franky.RealtimeConfig.Ignore)


def start_client(host: str, *lines: str) -> subprocess.Popen[bytes]:
    """Another process with Robot ``r`` that runs the motion ``m`` made by ``lines``."""
    script = [
        "import franky, time",
        f"r = franky.Robot({host!r}, realtime_config=franky.RealtimeConfig.Ignore)",
        *lines,
        "r.move(m, asynchronous=True)",
        "time.sleep(100)",
    ]
    return subprocess.Popen([sys.executable, "-c", "\n".join(script)])


@pytest.fixture
def sim() -> Iterator[SimProcess]:
    sim = SimProcess.start(seed=1)
    yield sim
    sim.stop()


def test_sigterm_ends_it_cleanly(sim: SimProcess) -> None:
    """The demo stops it this way; a left-over block would look like a hanging simulator."""
    block = SHM_DIRECTORY / snapshot_name(sim.host)
    assert block.exists()
    assert sim.stop() == 0
    assert not block.exists()
    assert sim.said() == ""
    with pytest.raises(SnapshotError, match="no simulator is running"):
        SnapshotReader(block.name).read()
    with pytest.raises(SimControlError, match="no simulator answered"):
        SimControl(sim.host, timeout=0.1).stats()


def test_kill_9_and_restart(sim: SimProcess) -> None:
    """A crash leaves ports and block behind; readers must notice, a restart must work."""
    reader = SnapshotReader(snapshot_name(sim.host), stale_after=0.3)
    old = reader.read()
    robot = connect(sim.host)
    sim.kill()
    time.sleep(0.4)
    with pytest.raises(SnapshotStaleError, match="hangs or died"):
        reader.read()
    with pytest.raises(franky.NetworkException):
        robot.state  # noqa: B018  reading it is the question to the robot
    del robot
    with SimProcess.start(sim.host, seed=2) as second:
        new = reader.read()
        assert (new.header.pid, new.header.seed) == (second.process.pid, 2)
        assert new.header.pid != old.header.pid
        assert connect(sim.host).state.robot_mode == franky.RobotMode.Idle


def test_a_killed_client_leaves_the_arm_holding(sim: SimProcess) -> None:
    """The robot node may crash in the middle of a motion; the next one connects."""
    client = start_client(
        sim.host,
        "r.relative_dynamics_factor = 0.02",
        "m = franky.CartesianMotion(franky.Affine([0.0, 0.0, 0.1]), franky.ReferenceType.Relative)",
    )
    control = SimControl(sim.host, timeout=10)
    assert wait_until(lambda: control.stats()["moving"])
    client.kill()
    client.wait()
    assert wait_until(lambda: not control.stats()["moving"])
    robot = connect(sim.host)
    assert robot.state.robot_mode == franky.RobotMode.Idle
    assert max(abs(v) for v in robot.state.dq) < 0.05


def test_a_stopped_client_does_not_keep_its_last_torque(sim: SimProcess) -> None:
    """The wheel applies the last torque for ever; the robot gives up on missing packets."""
    client = start_client(
        sim.host,
        "m = franky.CartesianImpedanceTrackingMotion()",
        "m.set_reference(franky.CartesianReference(r.current_pose.end_effector_pose))",
    )
    control = SimControl(sim.host, timeout=10)
    try:
        assert wait_until(lambda: control.stats()["moving"])
        client.send_signal(signal.SIGSTOP)
        assert wait_until(lambda: control.stats()["fault"] == "reflex")
        assert not control.stats()["moving"]
    finally:
        client.kill()
        client.wait()


def test_a_client_that_speaks_nonsense_is_dropped(sim: SimProcess) -> None:
    """A port scanner must not end the physics everyone else watches."""
    for port in (1337, 1338):
        with socket.create_connection((sim.host, port), timeout=5) as intruder:
            intruder.sendall(bytes(range(256)))
            intruder.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert intruder.recv(1) == b""
    assert connect(sim.host).state.robot_mode == franky.RobotMode.Idle
    assert franky.Gripper(sim.host).width == pytest.approx(0.078, abs=1e-3)


def test_every_socket_is_bound_to_the_given_address(sim: SimProcess) -> None:
    """The wheel takes motion commands on 0.0.0.0: from any machine of the network."""
    robot = connect(sim.host)
    inodes = set()
    for link in Path(f"/proc/{sim.process.pid}/fd").iterdir():
        target = os.readlink(link)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    wanted = "".join(f"{int(part):02X}" for part in reversed(sim.host.split(".")))
    addresses = []
    for table in ("udp", "tcp"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                addresses.append(fields[1].split(":")[0])
    assert len(addresses) >= 4  # two listeners, control, motion commands
    assert set(addresses) == {wanted}
    assert robot.state.robot_mode == franky.RobotMode.Idle


def test_a_second_simulator_at_the_same_address_says_so(sim: SimProcess) -> None:
    """And must not take the running one's snapshot away."""
    with pytest.raises(SimProcessError, match=r"another simulator runs there.*--host 127\.0\.0\.2"):
        SimProcess.start(sim.host)
    assert SnapshotReader(snapshot_name(sim.host)).read().header.pid == sim.process.pid


def test_an_address_of_the_network_is_refused() -> None:
    """Anyone on the network could move the arm."""
    with pytest.raises(SimProcessError, match="reachable from other machines"):
        SimProcess.start("192.0.2.1")


def test_addresses_of_parallel_tests_differ() -> None:
    """Two test runs at one address would fight for its ports."""
    hosts = {own_host() for _ in range(20)}
    assert len(hosts) == 20
