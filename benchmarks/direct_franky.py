"""What a user's own script would do: franky alone, no ROS, references at 100 Hz.

``python benchmarks/direct_franky.py HOST RAMPS``; prints one JSON line a ramp. The other half of
arm_latency.py.
"""

from __future__ import annotations

import json
import sys
import time

import franky
import numpy as np

PERIOD_S = 0.01
SPEED_M_S = 0.1
RAMP_S = 4.0 / 15.0
REST_S = 1.2


def main() -> None:
    host, ramps = sys.argv[1], int(sys.argv[2])
    robot = franky.Robot(host, realtime_config=franky.RealtimeConfig.Ignore)
    robot.relative_dynamics_factor = 0.1
    robot.recover_from_errors()
    start = robot.state.O_T_EE
    motion = franky.CartesianImpedanceTrackingMotion(
        translational_stiffness=1500.0,
        rotational_stiffness=80.0,
        posture_task=franky.PostureTask(np.array(robot.state.q), stiffness=10.0),
    )
    motion.set_reference(franky.CartesianReference(start, franky.Twist(np.zeros(3), np.zeros(3))))
    robot.move(motion, asynchronous=True)
    time.sleep(1.0)
    place = np.array(start.translation)
    for number in range(ramps):
        sign = 1.0 if number % 2 == 0 else -1.0
        ticks: list[float] = []
        begin = time.time()
        began = due = time.monotonic()
        while (elapsed := time.monotonic() - began) < RAMP_S + REST_S:
            ticks.append(time.monotonic())
            robot.poll_motion()
            moved = min(elapsed, RAMP_S) * SPEED_M_S * sign
            speed = SPEED_M_S * sign if elapsed < RAMP_S else 0.0
            target = franky.Affine(place + [0.0, moved, 0.0], start.quaternion)
            twist = franky.Twist(np.array([0.0, speed, 0.0]), np.zeros(3))
            motion.set_reference(franky.CartesianReference(target, twist))
            due = max(due + PERIOD_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        place = place + [0.0, sign * SPEED_M_S * RAMP_S, 0.0]
        gaps = np.diff(ticks).tolist()
        print(json.dumps({"begin": begin, "sign": sign, "gaps": gaps}), flush=True)
    robot.move(franky.TorqueStopMotion(), asynchronous=True)
    robot.join_motion(timeout=3.0)


if __name__ == "__main__":
    main()
