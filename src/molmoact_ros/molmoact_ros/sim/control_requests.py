"""What the control channel's requests do to the running physics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from molmoact_ros.sim.control_channel import FAULTS, Handler, number, vector
from molmoact_ros.sim.franka_protocol import Fault, RobotError
from molmoact_ros.sim.pacing import Pacer

_MOST_PUSH_N = 500.0


class World(Protocol):
    """What a request may touch; ``arm`` is an ArmServer."""

    arm: Any
    pacer: Pacer

    def reset(self, seed: int, task: str | None, home: bool) -> int: ...

    def push(self, force: list[float], ticks: int) -> None: ...

    def jam(self, stuck: bool) -> None: ...

    def facts(self) -> dict[str, Any]: ...


def request_handlers(world: World) -> dict[str, Handler]:
    """Handlers by request name; each raises ValueError, answered as an error with a remedy."""
    cpu = _CpuMeter()

    def reset(request: Mapping[str, Any]) -> Mapping[str, Any]:
        seed, task = request.get("seed"), request.get("task")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**53:
            raise ValueError(f"seed is {seed!r}; give a whole number from 0 up")
        if task is not None and not isinstance(task, str):
            raise ValueError(f"task is {task!r}; give text or null")
        return {"generation": world.reset(seed, task, bool(request.get("home")))}

    def fault(request: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = request.get("kind")
        if kind == "reflex":
            world.arm.trip(Fault.REFLEX, RobotError.CARTESIAN_REFLEX)
        elif kind == "user_stop":
            world.arm.trip(Fault.USER_STOP)
        elif kind == "manual":
            world.arm.trip(Fault.MANUAL, RobotError.JOINT_POSITION_LIMITS_VIOLATION)
        elif kind == "jam":
            world.jam(True)
        elif kind == "release":
            world.jam(False)
            world.arm.clear()
        elif kind == "freeze":
            world.arm.freeze(int(number(request, "ms", 1, 600_000)))
        else:
            raise ValueError(f"fault {kind!r} is unknown; use one of {', '.join(FAULTS)}")
        return {}

    def push(request: Mapping[str, Any]) -> Mapping[str, Any]:
        seconds = number(request, "seconds", 0.0, 60.0)
        world.push(vector(request, "force", 3, _MOST_PUSH_N), int(1000 * seconds))
        return {}

    def stats(_request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**asdict(world.pacer.stats()), "cpu": cpu.cores(), **world.facts()}

    return {"reset": reset, "fault": fault, "push": push, "stats": stats}


class _CpuMeter:
    """Cores this process used since the last question."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def cores(self) -> float:
        wall, cpu = time.perf_counter(), time.process_time()
        used = (cpu - self._cpu) / max(wall - self._wall, 1e-9)
        self._wall, self._cpu = wall, cpu
        return used
