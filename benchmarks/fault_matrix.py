"""Every fault an arm can have, made on purpose: what it did, what was said, how it came back.

    ./run shell python benchmarks/fault_matrix.py

Real franky speaks to a simulated FR3 over libfranka's protocol; driver and commander are the
ordinary nodes. What the arm did is read from its published state. Writes
benchmarks/results/fault_matrix.md. tests/nodes/test_arm_faults.py asserts the same rows.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped

sys.path.insert(0, str(Path(__file__).parent))
from arm_bench import HOLD, ArmBench, arm_bench, rows

from molmoact_ros.control.command import Source
from molmoact_ros.control.commander import Commander
from molmoact_ros.control.kinematics import dexterity
from molmoact_ros.geometry import Pose
from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import COMMAND_QOS
from molmoact_ros.robot.config import FrankyConfig
from molmoact_ros.robot.franky_arm import FrankyArm

STILL_M = 0.004
"""Settling and sensor noise; a motion that anybody wanted is longer."""


@dataclass(frozen=True)
class Outcome:
    """One row. ``safe``: what the arm did is what it must do. ``back``: how it moved again."""

    did: str
    safe: bool
    message: str
    back: str
    moves_again: bool


def still(bench: ArmBench, since: float) -> tuple[str, bool]:
    moved = bench.person.moved(since)
    return f"stayed within {1e3 * moved:.1f} mm", moved < STILL_M


def settles(bench: ArmBench) -> tuple[str, bool]:
    """Comes to rest within a second, in HOLD, and then stays."""
    person = bench.person
    start = time.time()
    held = person.wait(lambda: person.command.source == HOLD or not person.arm.armed, 3.0)
    person.listen(1.0)
    rest = time.time()
    person.listen(0.8)
    way, after = person.moved(start), person.moved(rest)
    words = f"came to rest within {1e3 * way:.0f} mm, then {1e3 * after:.1f} mm"
    return words, held and after < STILL_M


def moves_again(bench: ArmBench) -> bool:
    """A good thought moves the arm by what it says."""
    person = bench.person
    for _ in range(6):
        person.wait(lambda: "next thought" in person.command.reason, 3.0)
        person.listen(0.3)
        start = time.time()
        person.think(rows(dy=-0.004), goal=f"again {start}")
        person.listen(1.6)
        if 0.02 < person.moved(start) < 0.05:
            return True
    return False


def refused_chunk(damaged: np.ndarray, word: str, **how: object) -> Callable[[ArmBench], Outcome]:
    def case(bench: ArmBench) -> Outcome:
        person, start = bench.person, time.time()
        for _ in range(10):
            person.think(damaged, **how)  # type: ignore[arg-type]
            if person.wait(lambda: bool(person.told(word)), 1.0):
                break
        did, safe = still(bench, start)
        return Outcome(did, safe, person.told(word), "the next good thought", moves_again(bench))

    return case


def nan_row() -> np.ndarray:
    out = rows(0.008)
    out[3, 1] = np.nan
    return out


def jump(bench: ArmBench) -> Outcome:
    """A second thought that wants to go the other way at full speed, in the middle of the first."""
    person = bench.person
    start = time.time()
    person.think(rows(dy=0.016, count=16))
    person.listen(0.4)
    person.think(rows(dy=-0.0166, count=16))
    person.wait(lambda: bool(person.told("jumps")), 2.0)
    words, safe = settles(bench)
    path = person.since(start)
    forward = path[-1].position[1] - path[0].position[1]
    return Outcome(
        f"finished the older thought ({100 * forward:.1f} cm), {words}",
        safe and 0.18 < forward < 0.29,
        person.told("jumps"),
        "the next good thought",
        moves_again(bench),
    )


def out_of_box(bench: ArmBench) -> Outcome:
    person, start = bench.person, time.time()
    for _ in range(4):
        person.think(rows(dx=-0.016, count=8), goal="box")
        person.listen(0.75)
    words, safe = settles(bench)
    least = min(float(s.position[0]) for s in person.since(start))
    return Outcome(
        f"stopped at the wall (x = {least:.3f} m of 0.250), {words}",
        safe and least > 0.245,
        person.told("workspace box"),
        "thoughts that lead inside",
        moves_again(bench),
    )


def near_singularity(bench: ArmBench) -> Outcome:
    person, start = bench.person, time.time()
    step = 0.015 * np.array([1.0, 0.3, 0.4])
    for _ in range(6):
        person.think(rows(*step, count=8), goal="far")
        if person.wait(lambda: bool(person.told("singularity")), 0.8):
            break
    words, safe = settles(bench)
    least = min(dexterity(q) for stamp, q in person.joints if stamp >= start)
    message = person.told("singularity")
    person.think(rows(*(-step), count=8), goal="home")
    person.listen(1.5)
    return Outcome(
        f"went no further (dexterity {least:.3f}, kept {0.05}), {words}",
        safe and 0.03 < least < 0.08,
        message,
        "thoughts that lead back",
        moves_again(bench),
    )


def near_joint_limit(bench: ArmBench) -> Outcome:
    person, start = bench.person, time.time()
    for _ in range(4):
        person.think(rows(yaw=-0.05, count=48), goal="turn")
        if person.wait(lambda: bool(person.told("is near its limit")), 4.0):
            break
    words, safe = settles(bench)
    limits = FrankyConfig().margins
    room = min(
        float(np.minimum(q - np.array(limits.low), np.array(limits.high) - q).min())
        for stamp, q in person.joints
        if stamp >= start
    )
    message = person.told("is near its limit")
    person.think(rows(yaw=0.05, count=16), goal="back")
    person.listen(2.0)
    return Outcome(
        f"kept {room:.2f} rad from the limit, {words}",
        safe and room > 0.03,
        message,
        "thoughts that lead back",
        moves_again(bench),
    )


def late_chunk(bench: ArmBench) -> Outcome:
    person = bench.person
    person.think(rows(dy=0.01), goal="cancelled")
    person.listen(0.15)
    person.think(rows(dy=0.01), goal="cancelled", final=True)
    words, safe = settles(bench)
    start = time.time()
    person.think(rows(dy=0.01), goal="cancelled")
    person.wait(lambda: bool(person.told("has ended")), 2.0)
    did, stayed = still(bench, start)
    return Outcome(
        f"{words}; late chunk: {did}",
        safe and stayed,
        person.told("has ended"),
        "a new goal",
        moves_again(bench),
    )


def silent_policy(bench: ArmBench) -> Outcome:
    person = bench.person
    person.think(rows(dy=0.01), goal="silent")
    words, safe = settles(bench)
    person.wait(lambda: bool(person.told("policy node")), 5.0)
    message = person.told("policy node")
    return Outcome(words, safe, message, "the next thought", moves_again(bench))


def contact(bench: ArmBench) -> Outcome:
    """A true push of 60 N, beyond the reflex threshold of 40 N, in the middle of a motion."""
    person = bench.person
    person.think(rows(dy=0.006), goal="hit")
    person.listen(0.2)
    before = person.arm.recoveries
    bench.sim.push([0.0, 0.0, 60.0], 0.1)
    person.wait(lambda: bool(person.told("collision reflex")), 5.0)
    words, safe = settles(bench)
    alone = person.wait(lambda: person.arm.armed and person.arm.recoveries > before, 10.0)
    back = f"by itself, recovery {person.arm.recoveries}" if alone else "recover, arm"
    return Outcome(words, safe, person.told("collision reflex"), back, moves_again(bench))


def person_needed(fault: str, word: str, how: str) -> Callable[[ArmBench], Outcome]:
    def case(bench: ArmBench) -> Outcome:
        person = bench.person
        person.think(rows(dy=0.006), goal=fault)
        person.listen(0.2)
        bench.sim.fault(fault)
        person.wait(lambda: bool(person.told(word)), 5.0)
        words, safe = settles(bench)
        refused = word in person.call("franka/recover")
        bench.sim.fault("release")
        person.listen(0.7)
        waits = not person.arm.armed
        person.call("franka/recover")
        person.call("franka/arm")
        person.wait(lambda: person.arm.armed, 10.0)
        return Outcome(
            words,
            safe and refused and waits,
            person.told(word),
            f"{how}, recover, arm",
            moves_again(bench),
        )

    return case


def network(bench: ArmBench) -> Outcome:
    person = bench.person
    person.think(rows(dy=0.006), goal="cable")
    person.listen(0.2)
    start = time.time()
    bench.sim.fault("freeze", 1500)
    person.wait(lambda: not person.arm.connected, 10.0)
    person.wait(lambda: person.arm.armed, 30.0)
    words, safe = settles(bench)
    way = person.moved(start)
    return Outcome(
        f"{100 * way:.1f} cm between the last state before and the first after; {words}",
        safe and way < 0.06,
        person.told("check the cable"),
        "by itself: new connection",
        moves_again(bench),
    )


def gripper_stuck(bench: ArmBench) -> Outcome:
    """The fingers do not move; the arm must, and the person must hear of it."""
    person = bench.person
    bench.sim.fault("jam")
    start = time.time()
    person.think(rows(gripper=0.0, count=2), goal="grip")
    person.wait(lambda: bool(person.told("gripper: the fingers")), 12.0)
    did, safe = still(bench, start)
    message = person.told("gripper: the fingers")
    meanwhile = moves_again(bench)
    bench.sim.fault("release")
    person.listen(1.0)
    for closed in (0.0, 1.0):
        person.think(rows(gripper=closed, count=2), goal=f"grip {closed}")
        person.listen(2.0)
    works = person.wait(lambda: person.arm.gripper_width > 0.07, 10.0)
    return Outcome(
        f"arm {did} and went on with its thoughts",
        safe and meanwhile,
        message,
        "freed, next gripper command",
        works,
    )


def killed_commander(bench: ArmBench) -> Outcome:
    person = bench.person
    person.think(rows(dy=0.01, count=32), goal="killed")
    person.listen(0.3)
    bench.kill("commander")
    start = time.time()
    person.wait(lambda: bool(person.told("disarmed")), 10.0)
    person.listen(0.5)
    rest = time.time()
    person.listen(0.5)
    way, after = person.moved(start), person.moved(rest)
    message = person.told("disarmed")
    bench.start("commander")
    bench.ready()
    return Outcome(
        f"held after {1e3 * way:.0f} mm, disarmed, then {1e3 * after:.1f} mm",
        way < 0.08 and after < STILL_M,
        message,
        "commander started, arm",
        moves_again(bench),
    )


def direct(pose: Callable[[Pose], Pose], word: str) -> Callable[[ArmBench], Outcome]:
    """Straight to the driver, as a broken commander would; ours is not running meanwhile."""

    def case(bench: ArmBench) -> Outcome:
        person = bench.person
        bench.kill("commander")
        sender = person.create_publisher(PoseStamped, "target_pose", COMMAND_QOS)
        try:
            person.wait(lambda: person.count_publishers("target_pose") == 1, 20.0)
            person.call("franka/arm")
            person.wait(lambda: person.arm.armed, 5.0)
            here = Pose(person.path[-1].position, person.path[-1].quaternion)
            start = time.time()
            for i in range(60):
                target = here if i < 20 else pose(here)
                sender.publish(convert.pose_stamped(target, time.time(), "fr3_link0"))
                person.listen(0.02)
            person.wait(lambda: bool(person.told(word)), 3.0)
            did, safe = still(bench, start)
            message = person.told(word)
        finally:
            person.destroy_publisher(sender)
        bench.start("commander")
        bench.ready()
        return Outcome(did, safe, message, "good targets, arm", moves_again(bench))

    return case


def two_publishers(bench: ArmBench) -> Outcome:
    person = bench.person
    rival = person.create_publisher(PoseStamped, "target_pose", COMMAND_QOS)
    start = time.time()
    try:
        here = person.path[-1]
        away = Pose(here.position + np.array([0.0, 0.04, 0.0]), here.quaternion)
        person.wait(lambda: bool(person.told("2 publishers")), 10.0)
        for _ in range(50):
            rival.publish(convert.pose_stamped(away, time.time(), "fr3_link0"))
            person.listen(0.02)
        did, safe = still(bench, start)
        message = person.told("2 publishers")
    finally:
        person.destroy_publisher(rival)
    person.wait(lambda: "publishers" not in person.arm.detail, 10.0)
    person.call("franka/arm")
    person.wait(lambda: person.arm.armed, 10.0)
    return Outcome(did, safe, message, "one publisher ended, arm", moves_again(bench))


def killed_driver(bench: ArmBench) -> Outcome:
    person = bench.person
    person.think(rows(dy=0.006), goal="driver")
    person.listen(0.2)
    bench.kill("franka")
    person.wait(lambda: bool(person.told("measured pose is")), 5.0)
    message = person.told("measured pose is")
    stopped = _until(lambda: not bench.sim.stats()["moving"], 10.0)
    bench.start("franka")
    person.wait(lambda: person.arm.connected, 30.0)
    person.listen(1.0)
    rest = time.time()
    person.listen(0.5)
    after = person.moved(rest)
    bench.ready()
    return Outcome(
        f"the robot itself ended the motion; {1e3 * after:.1f} mm afterwards",
        stopped and after < STILL_M,
        message,
        "driver started, recover, arm",
        moves_again(bench),
    )


def clock_jump(bench: ArmBench) -> Outcome:
    """Commander and driver in this process, with a clock that goes back by an hour and returns."""
    bench.kill("franka")
    offset = [0.0]

    def clock() -> float:
        return time.time() + offset[0]

    commander, arm = Commander(), FrankyArm(FrankyConfig(host=bench.host), clock=clock)
    said: list[str] = []
    arm.start()
    try:
        _until(lambda: arm.state().connected, 30.0)
        if arm.state().errors:
            arm.recover().result(10.0)
        arm.arm().result(20.0)

        def run(seconds: float) -> list[np.ndarray]:
            path, end = [], time.monotonic() + seconds
            while time.monotonic() < end:
                state, now = arm.state(), clock()
                commander.feed_measured(state.ee.position, state.ee.quaternion, state.stamp, now)
                commander.feed_arm_ready(state.ready, state.detail)
                command = commander.step(now)
                said.append(command.reason)
                if command.pose is not None:
                    arm.set_reference(command.pose, command.twist)
                path.append(state.ee.position)
                time.sleep(0.02)
            return path

        run(0.3)
        commander.select_source(Source.POLICY, clock())
        run(0.3)
        commander.feed_chunk(rows(dy=0.008, count=16), clock(), clock(), "a")
        run(0.3)
        ways = []
        for jump_s in (-3600.0, 3600.0):
            offset[0] += jump_s
            path = run(1.5)
            ways.append(max(float(np.linalg.norm(p - path[0])) for p in path))
            late = float(np.linalg.norm(path[-1] - path[-20]))
            ways.append(late)
        start = arm.state().ee.position
        refused = commander.feed_chunk(rows(dy=-0.004), clock(), clock(), "b")
        run(1.5)
        back = float(np.linalg.norm(arm.state().ee.position - start))
    finally:
        arm.close()
    message = next((text for text in said if "clock" in text), "")
    bench.start("franka")
    return Outcome(
        f"came to rest within {1e3 * ways[0]:.0f} mm, then stayed within {1e3 * ways[3]:.1f} mm",
        max(ways[0], ways[2]) < 0.04 and max(ways[1], ways[3]) < STILL_M,
        message,
        "the next good thought",
        refused == "" and 0.02 < back < 0.05,
    )


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


CASES: dict[str, Callable[[ArmBench], Outcome]] = {
    "NaN in a chunk": refused_chunk(nan_row(), "not finite"),
    "wrong shape": refused_chunk(rows(0.008)[:, :5], "shape"),
    "row of 20 cm": refused_chunk(rows(0.2), "at once"),
    "stale image": refused_chunk(rows(0.008), "s old, allowed", age=20.0),
    "jump between chunks": jump,
    "out of the box": out_of_box,
    "near a singularity": near_singularity,
    "near a joint limit": near_joint_limit,
    "late chunk of a cancelled goal": late_chunk,
    "silent policy": silent_policy,
    "contact reflex": contact,
    "user stop": person_needed("user_stop", "release the user stop", "released"),
    "manual error": person_needed("manual", "Desk", "cleared in Desk"),
    "network freeze 1.5 s": network,
    "gripper stuck": gripper_stuck,
    "two publishers on target_pose": two_publishers,
    "killed commander": killed_commander,
    "bad quaternion to the driver": direct(
        lambda here: Pose(here.position, 1.5 * here.quaternion), "norm"
    ),
    "jump to the driver": direct(
        lambda here: Pose(here.position + np.array([0.2, 0.0, 0.0]), here.quaternion), "jumps"
    ),
    "NaN to the driver": direct(
        lambda here: Pose(here.position * np.nan, here.quaternion), "not finite"
    ),
    "killed driver": killed_driver,
    "clock jump of an hour, and back": clock_jump,
}
"""Faults to what makes and judges them, in this order: the last ones end processes."""


def table(outcomes: dict[str, Outcome]) -> str:
    lines = ["| fault | what the arm did | message | how it came back |", "|---|---|---|---|"]
    for name, outcome in outcomes.items():
        mark = "" if outcome.safe else " **UNSAFE**"
        back = outcome.back if outcome.moves_again else f"**NOT BACK** ({outcome.back})"
        message = outcome.message.replace("|", "/") or "**NO MESSAGE**"
        lines.append(f"| {name} | {outcome.did}{mark} | {message} | {back} |")
    return "\n".join(lines)


def main() -> int:
    os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
    wanted = sys.argv[1:]
    # A bench that is terminated must not leave a robot running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    outcomes = {}
    with arm_bench() as bench:
        for name, case in CASES.items():
            if wanted and not any(word in name for word in wanted):
                continue
            try:
                bench.ready()
                outcomes[name] = case(bench)
            except AssertionError as error:
                outcomes[name] = Outcome(f"the bench broke off: {error}", False, "", "", False)
            print(table({name: outcomes[name]}).splitlines()[-1], flush=True)
    text = "# Faults, and what came of them\n\nWritten by benchmarks/fault_matrix.py.\n\n"
    if not wanted:
        target = Path(__file__).parent / "results" / "fault_matrix.md"
        target.write_text(text + table(outcomes) + "\n", encoding="utf-8")
    good = all(o.safe and o.message and o.moves_again for o in outcomes.values())
    print(f"{len(outcomes)} faults; {'all' if good else 'NOT all'} ended as they must")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
