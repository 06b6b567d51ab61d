"""Everything that can end a recording, done to the real node, and what was left afterwards.

Each row: how many messages were published while the episode ran, how many of them are in the bag
after recovery, how many seconds are missing at its end, holes before that end, who can read it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "nodes"), str(ROOT / "tests" / "bags")]
from mcap.reader import make_reader  # noqa: E402
from mcap_ros2.decoder import DecoderFactory  # noqa: E402
from molmoact_msgs.msg import EpisodeStatus  # noqa: E402
from recorder_helpers import TOPICS, Operator, RecorderProcess, Robot, scene  # noqa: E402

from molmoact_ros.bags.cdr import read_stamp_ns  # noqa: E402
from molmoact_ros.bags.reader import BagReader  # noqa: E402
from molmoact_ros.bags.recovery import recover_all  # noqa: E402
from molmoact_ros.bags.roles import stored_name  # noqa: E402

Row = dict[str, object]
STREAMS = ("/joint_states", "/cam/color/image_raw")
SECONDS = 4.0

DYING_WRITER = """
from molmoact_ros.bags.writer import BagWriter
keep, seen = BagWriter.write, []
def write(self, *args):
    seen.append(1)
    if len(seen) > 150:
        raise MemoryError('planted by the benchmark')
    keep(self, *args)
BagWriter.write = write
"""
SET_CLOCK = """
import time
real_time, real_ns, begin = time.time, time.time_ns, time.monotonic()
def shift():
    return 3600 if time.monotonic() - begin > 8.0 else 0
time.time = lambda: real_time() + shift()
time.time_ns = lambda: real_ns() + shift() * 10**9
"""


def row(name: str, folder: Path, robot: Robot, begin_ns: int, end_ns: int) -> Row:
    """Compare what was published between two moments with what the episode holds."""
    saved, problems = recover_all(folder)
    episode = sorted(path for path in folder.iterdir() if path.is_dir())[0]
    reader = BagReader(episode)
    result: Row = {"case": name, "recovered_at_start_up": bool(saved), "problems": problems}
    missing = 0.0
    holes = kept = published = 0
    for topic in STREAMS:
        stored = stored_name(reader, topic) or topic
        sent = [stamp for stamp in robot.sent[topic] if begin_ns <= stamp <= end_ns]
        have = {read_stamp_ns(m.data) for m in reader.messages([stored])}
        published += len(sent)
        kept += sum(stamp in have for stamp in sent)
        last = max(have, default=begin_ns)
        missing = max(missing, (sent[-1] - last) * 1e-9)
        holes += sum(stamp not in have for stamp in sent if min(have, default=0) < stamp < last)
    result |= {"published": published, "in_bag": kept, "seconds_lost": round(missing, 3)}
    result |= {"holes": holes, "origin": reader.custom.get("task", "")}
    result |= {"ended": reader.custom.get("ended", "cut off")}
    result["readers"] = readers(episode)
    return result


def readers(episode: Path) -> dict[str, int]:
    """Messages that each reader gets out of the bag; they must agree."""
    from rosbags.highlevel import AnyReader

    found: dict[str, int] = {}
    with AnyReader([episode]) as bag:
        found["rosbags"] = sum(
            bag.deserialize(data, connection.msgtype) is not None
            for connection, _, data in bag.messages()
        )
    file = next(episode.glob("*.mcap"))
    with file.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        found["mcap"] = sum(1 for _ in reader.iter_messages())
    with file.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        found["mcap-ros2-support"] = sum(1 for _ in reader.iter_decoded_messages())
    return found


Fault = Callable[[Robot, Operator, RecorderProcess], None]


def case(name: str, root: Path, fault: Fault, prelude: str = "", **parameters: object) -> Row:
    """Record for some seconds, let ``fault`` happen, look at what is left."""
    folder = root / "episodes"
    folder.mkdir(parents=True, exist_ok=True)
    with scene(folder, TOPICS, prelude, **parameters) as (robot, operator, recorder):
        operator.start()
        operator.listen(0.3)
        begin = time.time_ns()
        operator.listen(SECONDS)
        fault(robot, operator, recorder)
        end = getattr(recorder, "ended_ns", time.time_ns())
    return row(name, folder, robot, begin, end)


def killed(number: int) -> Fault:
    def fault(robot: Robot, operator: Operator, recorder: RecorderProcess) -> None:
        recorder.ended_ns = time.time_ns()  # type: ignore[attr-defined]
        recorder.signal(number)

    return fault


def until_it_ends(robot: Robot, operator: Operator, recorder: RecorderProcess) -> None:
    """The recorder must notice by itself; the moment counts at which it tells."""
    assert operator.wait(lambda: operator.status.state == EpisodeStatus.UNLABELLED, 90.0)
    recorder.ended_ns = operator.ended_ns  # type: ignore[attr-defined]


def unplugged(robot: Robot, operator: Operator, recorder: RecorderProcess) -> None:
    """The required camera falls silent: the episode ends; after replugging one starts again."""
    robot.camera_on = False
    until_it_ends(robot, operator, recorder)
    robot.camera_on = True
    operator.listen(1.0)
    operator.start("the camera is back")
    operator.stop()


def stopped(robot: Robot, operator: Operator, recorder: RecorderProcess) -> None:
    operator.listen(6.0)
    recorder.ended_ns = time.time_ns()  # type: ignore[attr-defined]
    operator.stop()


def full_disk(root: Path) -> Row:
    """A real full disk: a small tmpfs, mounted for this case."""
    root.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(root)], capture_output=True
    )
    if done.returncode:
        return {"case": "disk full", "skipped": done.stderr.decode().strip()}
    try:
        filler = root / "filler"
        filler.write_bytes(b"\0" * 3_400_000)
        return case("disk full", root, until_it_ends, reserve_mb=1, jpeg=False)
    finally:
        subprocess.run(["umount", str(root)], check=True)


def crash_table(root: Path) -> list[Row]:
    """All cases, one after the other: about two minutes."""
    rows = [
        case("kill -9", root / "kill", killed(signal.SIGKILL)),
        case("SIGTERM", root / "term", killed(signal.SIGTERM)),
        full_disk(root / "full"),
        case("writer thread dies", root / "writer", until_it_ends, DYING_WRITER),
        case("camera unplugged and back", root / "camera", unplugged),
        case("clock set by an hour", root / "clock", stopped, SET_CLOCK),
    ]
    header = f"{'case':28} {'published':>9} {'in bag':>7} {'lost s':>7} {'holes':>5}  ended"
    lines = [header]
    for r in rows:
        if "skipped" in r:
            lines.append(f"{r['case']:28} skipped: {r['skipped']}")
            continue
        lines.append(
            f"{r['case']:28} {r['published']:9} {r['in_bag']:7} {r['seconds_lost']:7} "
            f"{r['holes']:5}  {r['ended']}"
        )
    sys.stderr.write("\n".join(lines) + "\n")
    return rows


if __name__ == "__main__":
    os.environ.setdefault("ROS_DOMAIN_ID", "79")
    with tempfile.TemporaryDirectory() as folder:
        crash_table(Path(folder))
        shutil.rmtree(folder, ignore_errors=True)
