"""The simulated robot as a process: ``python -m molmoact_ros.sim.server --host 127.0.0.1``.

Prints one line ``READY <host>`` when a client may connect, then runs until SIGTERM or SIGINT.
After ``kill -9`` the next start replaces what was left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from molmoact_ros.sim.control_channel import loopback
from molmoact_ros.sim.physics import PhysicsConfig, PhysicsError, PhysicsServer
from molmoact_ros.sim.tabletop import Scene, Tabletop


def serve(server: PhysicsServer, stop: threading.Event) -> None:
    """Announce the server and run it until ``stop`` is set. Raises PhysicsError."""
    try:
        # Everything alive now stays: later collections look at new objects only.
        gc.collect()
        gc.freeze()
        sys.stdout.write(f"READY {server.host}\n")
        sys.stdout.flush()
        server.run(stop.is_set)
    finally:
        server.close()


def parse_config(argv: Sequence[str] | None) -> PhysicsConfig:
    """The command line as a configuration. Exits with status 2 on a bad one."""
    parser = argparse.ArgumentParser(prog="molmoact_ros.sim.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to serve at")
    parser.add_argument("--seed", type=int, default=0, help="first scene")
    parser.add_argument("--task", default=None, help="instruction, in words, for whoever scores")
    parser.add_argument("--realtime", type=float, default=1.0, help="speed; 1 is wall clock")
    options = parser.parse_args(argv)
    try:
        loopback(options.host)
    except ValueError as error:
        parser.error(str(error))
    if options.seed < 0 or not 0.01 <= options.realtime <= 10.0:
        parser.error("--seed must be 0 or more and --realtime between 0.01 and 10")
    return PhysicsConfig(options.host, options.seed, options.task, options.realtime)


def main(argv: Sequence[str] | None = None, scene: Scene | None = None) -> int:
    """Entry point; the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    config = parse_config(argv)
    # The arm's clock comes before pictures and thoughts, as on a robot; libfranka asks for
    # the same in its client. Only root gets it, nobody else needs it on an idle machine.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        server = PhysicsServer(config, scene or Tabletop())
    except (PhysicsError, ValueError) as error:
        return _complain(error)
    try:
        serve(server, stop)
    except PhysicsError as error:
        return _complain(error)
    return 0


def _complain(error: Exception) -> int:
    sys.stderr.write(f"simulator: {error}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
