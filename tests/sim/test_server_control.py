"""The control channel and the clock, without physics."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from molmoact_ros.sim.control_channel import (
    CONTROL_PORT,
    ControlServer,
    SimControl,
    SimControlError,
    loopback,
)
from molmoact_ros.sim.control_requests import request_handlers
from molmoact_ros.sim.franka_protocol import Fault
from molmoact_ros.sim.pacing import Pacer
from molmoact_ros.sim.process import own_host


class FakeArm:
    def __init__(self) -> None:
        self.log: list[object] = []

    def trip(self, fault: Fault, error: object = None) -> None:
        self.log.append(fault)

    def clear(self) -> None:
        self.log.append("clear")

    def freeze(self, ticks: int) -> None:
        self.log.append(ticks)


class FakeWorld:
    def __init__(self) -> None:
        self.arm = FakeArm()
        self.pacer = Pacer()
        self.resets: list[tuple[int, str | None, bool]] = []
        self.pushes: list[tuple[list[float], int]] = []
        self.jams: list[bool] = []

    def reset(self, seed: int, task: str | None, home: bool) -> int:
        if home:
            raise ValueError("the arm is in motion; stop it before a reset with home=True")
        self.resets.append((seed, task, home))
        return len(self.resets) + 1

    def push(self, force: list[float], ticks: int) -> None:
        self.pushes.append((force, ticks))

    def jam(self, stuck: bool) -> None:
        self.jams.append(stuck)

    def facts(self) -> dict[str, Any]:
        return {"sim_time": 1.5}


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def host(world: FakeWorld) -> Iterator[str]:
    host, done = own_host(), threading.Event()
    server = ControlServer(host, request_handlers(world))

    def serve() -> None:
        while not done.wait(0.001):
            server.poll()

    thread = threading.Thread(target=serve)
    thread.start()
    yield host
    done.set()
    thread.join()
    server.close()


def test_requests_reach_the_world(host: str, world: FakeWorld) -> None:
    """The names and units of the calls: a mistake here breaks every fault test silently."""
    control = SimControl(host)
    assert control.reset(7, task="put the red cube on the plate") == 2
    assert world.resets == [(7, "put the red cube on the plate", False)]
    for kind in ("reflex", "user_stop", "manual", "jam", "release"):
        control.fault(kind)
    assert world.jams == [True, False]
    control.fault("freeze", ms=250)
    assert world.arm.log == [Fault.REFLEX, Fault.USER_STOP, Fault.MANUAL, "clear", 250]
    control.push([1, 0, -2.5], seconds=0.25)
    assert world.pushes == [([1.0, 0.0, -2.5], 250)]
    assert control.stats()["sim_time"] == 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.reset(-1), "seed is -1; give a whole number"),
        (lambda c: c.reset(1, home=True), "in motion; stop it"),
        (lambda c: c.fault("meteor"), "unknown; use one of reflex"),
        (lambda c: c.fault("freeze"), "ms is 0; give a number from 1"),
        (lambda c: c.push([1.0, 2.0]), "give 3 numbers"),
        (lambda c: c.push([float("nan"), 0, 0]), "give 3 numbers"),
        (lambda c: c.push([1e6, 0, 0]), "at most 500"),
        (lambda c: c.push([1.0, 0, 0], seconds=-1), "number from 0 to 60"),
    ],
)
def test_bad_requests_are_refused_with_a_remedy(host: str, world, call, message: str) -> None:
    """NaN or a wrong seed must never reach MuJoCo."""
    with pytest.raises(SimControlError, match=message):
        call(SimControl(host))
    assert (world.resets, world.pushes, world.arm.log) == ([], [], [])


def test_a_repeated_datagram_is_done_once(host: str, world: FakeWorld) -> None:
    """The client sends again when an answer is lost; two resets would skip a scene."""
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.settimeout(5)
    answers = []
    for _ in range(2):
        asker.sendto(b'{"id": "a", "do": "reset", "seed": 4}', (host, CONTROL_PORT))
        answers.append(asker.recv(1000))
    assert answers[0] == answers[1]
    assert len(world.resets) == 1


@pytest.mark.parametrize("junk", [b"\xff\x00", b"[]", b"null", b'{"do": "explode"}'])
def test_junk_gets_an_answer_and_harms_nobody(host: str, world: FakeWorld, junk: bytes) -> None:
    """The loop that runs the physics must survive any datagram."""
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.settimeout(5)
    asker.sendto(junk, (host, CONTROL_PORT))
    assert b"error" in asker.recv(1000)
    assert SimControl(host).stats()["sim_time"] == 1.5


def test_no_simulator_is_a_clear_error() -> None:
    """The message must say how to start one."""
    with pytest.raises(SimControlError, match=r"no simulator answered.*sim\.server --host"):
        SimControl(own_host(), timeout=0.05).stats()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "localhost", "::1", "128.0.0.1"])
def test_only_loopback_is_served(host: str) -> None:
    """Nothing here has a password: another machine must not be able to move the arm."""
    with pytest.raises(ValueError, match=r"127\.0\.0"):
        loopback(host)


class FakeClock:
    """time.perf_counter and time.sleep of a machine we can slow down."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr("molmoact_ros.sim.pacing.time", clock)
    return clock


def run_ticks(pacer: Pacer, clock: FakeClock, work: list[float]) -> Mapping[str, Any]:
    for seconds in work:
        pacer.begin()
        clock.now += seconds
        pacer.wait()
    return vars(pacer.stats())


def test_a_slow_tick_is_made_up_for(clock: FakeClock) -> None:
    """Deadlines are absolute: sleeping a millisecond after each tick ran at 750 Hz."""
    stats = run_ticks(Pacer(0.001), clock, [0.0002, 0.0030, 0.0002, 0.0002, 0.0002, 0.0002])
    assert clock.now == pytest.approx(100.006)
    assert (stats["ticks"], stats["late"], stats["resyncs"]) == (6, 3, 0)


def test_a_long_pause_is_written_off(clock: FakeClock) -> None:
    """Catching up 300 ms would fire 300 ticks at once: to a client, a robot that jumps."""
    stats = run_ticks(Pacer(0.001), clock, [0.0002] * 5 + [0.3] + [0.0002] * 5)
    assert stats["resyncs"] == 1
    assert clock.slept[-5:] == pytest.approx([0.0008] * 5)


def test_statistics_describe_the_last_ticks(clock: FakeClock) -> None:
    """A wrapped ring buffer once mixed the newest tick into the oldest place."""
    pacer = Pacer(0.001)
    run_ticks(pacer, clock, [0.0002] * 9000)
    pacer.begin()  # asked in the middle of a tick, as the control channel does
    stats = pacer.stats()
    assert stats.rate == pytest.approx(1000.0)
    assert stats.interval_ms == pytest.approx((1.0, 1.0, 1.0))
    assert stats.work_ms == pytest.approx((0.2, 0.2, 0.2))
