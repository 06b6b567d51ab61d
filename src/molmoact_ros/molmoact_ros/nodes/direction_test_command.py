"""``molmoact direction-test``: the test guided in this terminal, one question a step."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from molmoact_ros.control.direction import STEPS
from molmoact_ros.nodes.direction_test_node import RECORD, DirectionTestNode

INTRO = f"""
The arm will make {len(STEPS)} small steps (3 cm, 0.15 rad, fingers) and go back after each.
Before you go on: the fingers hold nothing, 10 cm are free around the hand, the user stop is in
your hand, and the arm is armed. Answer what you SEE, not what you expect.
"""
PATIENCE_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", default=RECORD, help="file that lets the policy move")
    parser.add_argument("--base-frame", default="fr3_link0")
    parser.add_argument("--arm-status", default="/franka/status", help="topic of the arm driver")


def run(values: argparse.Namespace) -> int:
    """0: passed. 1: failed or broken off. 2: the node did not start."""
    arguments = ["--ros-args", "-p", f"record:={values.record}"]
    arguments += ["-p", f"base_frame:={values.base_frame}"]
    arguments += ["-r", f"arm_status:={values.arm_status}"]
    arguments += ["-r", "command_status:=commander/status"]
    # Ctrl-C ends the conversation, not the context under it: rclpy keeps its hands off signals.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node, executor = DirectionTestNode(), SingleThreadedExecutor()
    try:
        if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            return 2
        node.trigger_activate()
        executor.add_node(node)
        threading.Thread(target=_spin, args=(executor,), daemon=True).start()
        return converse(node, _say, lambda: sys.stdin.readline())
    except KeyboardInterrupt:
        _say("\nbroken off; the policy stays locked")
        return 1
    finally:
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()


def converse(node: DirectionTestNode, say: Callable[[str], None], listen: Callable[[], str]) -> int:
    """Questions and answers until the test has ended. ``listen`` returns "" at the end of input."""
    say(INTRO + "Press Enter to begin, Ctrl-C to break off.")
    if not listen():
        return 1
    for number, step in enumerate(STEPS, 1):
        if not _begin(node, say):
            return 1
        _wait_while(lambda: node.busy)
        say(f"[{number}/{len(STEPS)}] {step.question} [y/n]")
        seen = _yes_or_no(say, listen)
        done, words = node.confirm() if seen else node.reject()
        if not done:
            say(words)
            return 1
    say(node.words)
    return 0


def _begin(node: DirectionTestNode, say: Callable[[str], None]) -> bool:
    """Do the next step as soon as it can be done."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        _wait_while(lambda: node.busy)
        done, words = node.next_step()
        if done:
            return True
        if node.test.failure or time.monotonic() > deadline:
            say(words)
            return False
        time.sleep(0.2)


def _yes_or_no(say: Callable[[str], None], listen: Callable[[], str]) -> bool:
    while line := listen():
        word = line.strip().lower()
        if word in ("y", "yes"):
            return True
        if word in ("n", "no"):
            return False
        say("answer y or n")
    return False


def _wait_while(busy: Callable[[], bool]) -> None:
    while busy():
        time.sleep(0.05)


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
