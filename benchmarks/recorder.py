"""What the recorder costs and what it loses: two commands, two tables.

    ./run shell python benchmarks/recorder.py load --seconds 600
    ./run shell python benchmarks/recorder.py crash

``load``: two 640x480 cameras at 30 Hz with camera info, aligned depth at 30 Hz, joint states and
poses at 100 Hz, from another process that counts what it publishes. The ratio compares with a bare
``mcap`` writer that gets the same bytes in the same run. ``crash``: kill -9, SIGTERM, a full disk,
a dying writer, a lost camera, a set clock; what was left afterwards and who could read it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from molmoact_ros.bags.reader import BagReader

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "bags"), str(ROOT / "benchmarks")]
RESULTS = ROOT / "benchmarks" / "results"
TOPICS = (
    "/cameras/external/color/image_raw sensor_msgs/msg/Image rate=30",
    "/cameras/external/color/camera_info sensor_msgs/msg/CameraInfo rate=30",
    "/cameras/external/aligned_depth_to_color/image_raw sensor_msgs/msg/Image rate=30",
    "/cameras/wrist/color/image_raw sensor_msgs/msg/Image rate=30",
    "/cameras/wrist/color/camera_info sensor_msgs/msg/CameraInfo rate=30",
    "/joint_states sensor_msgs/msg/JointState rate=100",
    "/current_pose geometry_msgs/msg/PoseStamped rate=100",
)


def publish(seconds: float) -> None:
    """The publisher process: waits for a line, publishes for ``seconds``, prints its counts."""
    import numpy as np
    import rclpy
    from geometry_msgs.msg import PoseStamped
    from rclpy.node import Node
    from rclpy.qos import QoSProfile
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CameraInfo, Image, JointState

    from molmoact_ros.bags.schedule import restamped
    from molmoact_ros.nodes import convert

    rclpy.init()
    node = Node("load")
    y, x = np.mgrid[0:480, 0:640]
    rng = np.random.default_rng(0)

    def colour(i: int) -> bytes:
        base = np.stack([x // 3 + i, y // 2, (x + y) // 5 + 2 * i], axis=-1) % 256
        noisy = np.clip(base + rng.normal(0, 1.5, base.shape), 0, 255).astype(np.uint8)
        return bytes(serialize_message(convert.image_message(noisy, "rgb8", Image().header)))

    def depth(i: int) -> bytes:
        metres = 700 + 300 * np.sin((x + 4 * i) / 90) + 0.5 * y + rng.normal(0, 2, x.shape)
        values = metres.astype(np.uint16)
        return bytes(serialize_message(convert.image_message(values, "16UC1", Image().header)))

    names = [f"joint{i}" for i in range(9)]
    joints = JointState(name=names, position=[0.1] * 9, velocity=[0.2] * 9, effort=[0.3] * 9)
    kinds = {
        "sensor_msgs/msg/Image": Image,
        "sensor_msgs/msg/CameraInfo": CameraInfo,
        "sensor_msgs/msg/JointState": JointState,
        "geometry_msgs/msg/PoseStamped": PoseStamped,
    }
    small = {k: [bytes(serialize_message(v()))] for k, v in kinds.items()}
    small["sensor_msgs/msg/JointState"] = [bytes(serialize_message(joints))]
    rgb, mm = [colour(i) for i in range(20)], [depth(i) for i in range(20)]
    streams = []
    for line in TOPICS:
        name, type_, rate = line.split()[:3]
        image = mm if "depth" in name else rgb
        samples = image if type_.endswith("/Image") else small[type_]
        publisher = node.create_publisher(kinds[type_], name, QoSProfile(depth=10))
        streams.append([0.0, 1.0 / float(rate.removeprefix("rate=")), name, publisher, samples, 0])
    # A camera runs long before a take: what is published before anybody listens is not lost.
    matched = time.monotonic() + 30.0
    while any(s[3].get_subscription_count() == 0 for s in streams) and time.monotonic() < matched:
        time.sleep(0.1)
    time.sleep(1.0)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    while True:
        stream = min(streams, key=lambda s: s[0])
        if stream[0] >= seconds:
            break
        wait = begin + stream[0] - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        sample = stream[4][stream[5] % len(stream[4])]
        stream[3].publish(restamped(sample, time.time_ns()))
        stream[0] += stream[1]
        stream[5] += 1
    took = time.monotonic() - begin
    cpu = time.process_time()
    rates = {s[2]: 1.0 / s[1] for s in streams}
    counts = {s[2]: s[5] for s in streams}
    print(json.dumps({"took": took, "cpu": cpu, "counts": counts, "rates": rates}))
    sys.stdin.readline()
    node.destroy_node()
    rclpy.try_shutdown()


def bare_writer(bag: Path, limit: int) -> dict[str, float]:
    """The bag's own bytes through a bare mcap writer and through our Take, at full speed."""
    from mcap.writer import CompressionType, Writer

    from molmoact_ros.bags.definitions import load_definition
    from molmoact_ros.bags.pictures import Codec
    from molmoact_ros.bags.take import Take

    reader = BagReader(bag)
    messages, size = [], 0
    for message in reader.messages():
        messages.append(message)
        size += len(message.data)
        if size > limit:
            break
    with tempfile.TemporaryDirectory(dir=bag.parent) as folder:
        start, cpu = time.perf_counter(), time.process_time()
        with (Path(folder) / "bare.mcap").open("wb") as file:
            writer = Writer(file, compression=CompressionType.NONE)
            writer.start("ros2", "bare")
            channels: dict[str, int] = {}
            for m in messages:
                if m.topic not in channels:
                    text = load_definition(m.type).text.encode()
                    schema = writer.register_schema(m.type, "ros2msg", text)
                    channels[m.topic] = writer.register_channel(m.topic, "cdr", schema)
                writer.add_message(channels[m.topic], m.log_ns, m.data, m.publish_ns)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        bare = time.perf_counter() - start, time.process_time() - cpu
        start, cpu = time.perf_counter(), time.process_time()
        take = Take(Path(folder) / "ours", list(reader.topics.values()), {}, Codec())
        take.start()
        for m in messages:
            while not take.put(m.topic, m.log_ns, m.publish_ns, m.data):
                time.sleep(0.002)
        take.stop({})
        ours = time.perf_counter() - start, time.process_time() - cpu
    return {
        "sample_mb": size / 1e6,
        "sample_messages": len(messages),
        "bare_s": bare[0],
        "bare_cpu_s": bare[1],
        "recorder_core_s": ours[0],
        "recorder_core_cpu_s": ours[1],
        "cpu_ratio_recorder_core_to_bare": ours[1] / bare[1],
    }


def lost_at(bag: BagReader, topic: str, rate: float) -> list[float]:
    """Seconds into the bag at which messages are missing, the first twenty."""
    stamps = [message.publish_ns * 1e-9 for message in bag.messages([topic])]
    begin = bag.start_ns * 1e-9
    return [
        round(a - begin, 2) for a, b in zip(stamps, stamps[1:], strict=False) if b - a > 1.6 / rate
    ][:20]


def load(seconds: float, folder: Path) -> dict[str, object]:
    """Record for ``seconds``; counts of both sides, CPU of the recorder's process."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

    argv = [sys.executable, "-m", "molmoact_ros.nodes.recorder_node", "--ros-args"]
    argv += ["-p", f"folder:={json.dumps(str(folder))}", "-p", f"topics:={json.dumps(TOPICS)}"]
    recorder = subprocess.Popen(argv)
    publisher = subprocess.Popen(
        [sys.executable, __file__, "publish", "--seconds", str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    rclpy.init()
    node = Node("benchmark")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        assert publisher.stdout is not None and publisher.stdin is not None
        assert publisher.stdout.readline().strip() == "ready"
        time.sleep(3.0)
        from molmoact_msgs.srv import StartEpisode
        from std_srvs.srv import Trigger

        def call(kind: type, name: str, **fields: object) -> object:
            client = node.create_client(kind, f"/recorder/{name}")
            assert client.wait_for_service(20.0)
            future = client.call_async(kind.Request(**fields))
            executor.spin_until_future_complete(future, 60.0)
            return future.result()

        print(call(StartEpisode, "start", task="pick up the cube").message)
        process = psutil.Process(recorder.pid)
        before = process.cpu_times()
        publisher.stdin.write("go\n")
        publisher.stdin.flush()
        sent = json.loads(publisher.stdout.readline())
        time.sleep(1.0)
        after = process.cpu_times()
        memory = process.memory_info().rss
        print(call(Trigger, "stop").message)
        publisher.stdin.write("end\n")
        publisher.stdin.flush()
        episode = folder / "episode_000001"
        for _ in range(600):
            if episode.is_dir():
                break
            time.sleep(0.1)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        for child in (publisher, recorder):
            child.send_signal(signal.SIGTERM)
            child.wait(30)
    bag = BagReader(episode)
    rows = []
    for name, count in sent["counts"].items():
        found = [n for n in (name, f"{name}/compressed", f"{name}/compressedDepth")
                 if n in bag.counts]  # fmt: skip
        kept = bag.counts[found[0]] if found else 0
        row = {"topic": name, "published": count, "recorded": kept, "lost": count - kept}
        if count != kept and found:
            row["lost_at_s"] = lost_at(bag, found[0], float(sent["rates"][name]))
        rows.append(row)
    cpu = (after.user + after.system) - (before.user + before.system)
    return {
        "seconds": sent["took"],
        "topics": rows,
        "lost": sum(row["lost"] for row in rows),
        "recorder_cores": cpu / sent["took"],
        "publisher_cores": sent["cpu"] / sent["took"],
        "recorder_rss_mb": memory / 1e6,
        "bag_mb": bag.bytes / 1e6,
        "bag_mb_per_minute": bag.bytes / 1e6 / (sent["took"] / 60),
        "bare_mcap_writer": bare_writer(episode, 500_000_000),
        "machine": machine(),
    }


def machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load_1m_at_end": os.getloadavg()[0],
        "python": platform.python_version(),
        "note": "other programs ran on the same two cores" if os.getloadavg()[0] > 3 else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["load", "crash", "publish"])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    values = parser.parse_args()
    if values.what == "publish":
        publish(values.seconds)
        return
    with tempfile.TemporaryDirectory(dir=values.folder) as folder:
        if values.what == "load":
            result: object = load(values.seconds, Path(folder) / "episodes")
        else:
            from recorder_crashes import crash_table

            result = crash_table(Path(folder))
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"recorder_{values.what}.json"
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
