"""Thirty demonstrations by a scripted gamepad, recorded, labelled and checked.

    ./run shell python benchmarks/demonstrations.py --episodes 30

A virtual pad picks a cube up in another scene each time; the recorder node writes every episode.
One is discarded, during one the recorder is killed and recovers it at its next start. Afterwards
faults are planted into copies of three finished bags (a gap, a gripper that obeys the wrong way
round, a camera that lags), and ``bag check`` has to find those and nothing else. Prints the table,
writes benchmarks/results/demonstrations.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from arm_bench import ArmBench, arm_bench
from mcap.reader import make_reader
from mcap.writer import Writer
from molmoact_msgs.msg import EpisodeStatus
from molmoact_msgs.srv import LabelEpisode
from virtual_pad import CLOSE, OPEN, Pad

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "nodes"))
from recorder_helpers import Operator

from molmoact_ros.bags.check import check_bag
from molmoact_ros.sim.shared import SnapshotReader, snapshot_name

RESULT = Path(__file__).parent / "results" / "demonstrations.json"
CAMERA_HZ = 6.0
DISCARDED, KILLED = 7, 12
PICTURES = "/cameras/external/color/image_raw/compressed"
GRIPPER = "/gripper_command"
LAG_FRAMES = 3
UP = np.array([0.0, 0.0, 0.10])
Message = tuple[str, int, bytes]
Plant = Callable[[list[Message]], list[Message]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="folder to leave the bags in")
    values = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = values.keep or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        rows = record(folder / "episodes", values.episodes)
        rows += planted(folder, rows)
    print("| bag | label | state | found by bag check | expected |\n|---|---|---|---|---|")
    for row in rows:
        found, wanted = ", ".join(row["found"]) or "nothing", ", ".join(row["planted"]) or "nothing"
        print(f"| {row['bag']} | {row['label']} | {row['state']} | {found} | {wanted} |")
    wrong = [row for row in rows if row["found"] != row["planted"]]
    print(f"{len(rows)} bags, {len(rows) - len(wrong)} judged as expected")
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if wrong else 0


@contextmanager
def recorded_pad(
    folder: Path, jitter: float = 0.0
) -> Iterator[tuple[ArmBench, Pad, Operator, SnapshotReader]]:
    """The arm, a gamepad and a recorder into ``folder``, all ready. jitter: of camera mounts."""
    extra: dict[str, dict[str, object]] = {
        "teleop": {"layout": "plain"},
        "sim_cameras": {"rate_hz": CAMERA_HZ, "mount_jitter": jitter},
        "recorder": {"folder": str(folder), "topics": topics()},
    }
    with arm_bench(extra=extra) as bench:
        for name in ("teleop", "sim_cameras", "recorder"):
            bench.start(name)
        pad, operator = Pad(bench), Operator()
        reader = SnapshotReader(snapshot_name(bench.host))
        assert bench.person.wait(lambda: bench.person.count_subscribers("joy") > 0, 90.0)
        assert operator.wait(lambda: operator.status.state == EpisodeStatus.IDLE, 90.0)
        bench.person.listen(5.0)
        yield bench, pad, operator, reader
        operator.close()


def record(folder: Path, episodes: int) -> list[dict[str, object]]:
    """Record them; one row a bag."""
    told: dict[str, tuple[str, str]] = {}
    with recorded_pad(folder) as (bench, pad, operator, reader):
        for number in range(episodes):
            bag, label, state = episode(bench, pad, operator, reader, number)
            told[bag] = label, state
            print(f"{bag}: {label}, {state}", file=sys.stderr, flush=True)
    return [row(folder / bag, label, state, []) for bag, (label, state) in told.items()]


def episode(
    bench: ArmBench, pad: Pad, operator: Operator, reader: SnapshotReader, number: int
) -> tuple[str, str, str]:
    """One demonstration: name of its bag, its label, what happened to it."""
    person = bench.person
    bench.sim.reset(seed=number)
    person.listen(0.5)
    cube = np.array(reader.read().objects["red_cube"].position)
    pad.grip(OPEN, lambda: person.arm.gripper_width > 0.07)
    pad.go(cube + UP + np.array([0.0, 0.0, 0.05]), within=0.02)
    bag = operator.start("pick up the red cube")
    pad.hold(0.3)
    pad.go(cube + UP)
    pad.go(cube)
    if number == KILLED:
        bench.kill("recorder")
        bench.start("recorder")
        pad.hold(4.0)
        return bag, label(operator, LabelEpisode.Request.FAILURE, bag), "recovered"
    # A cube that lies across is held by its corners, 57 mm apart.
    pad.grip(CLOSE, lambda: person.arm.gripper_width < 0.062)
    pad.go(cube + UP)
    pad.hold(0.3)
    lifted = reader.read().objects["red_cube"].position[2] > cube[2] + 0.05
    operator.stop()
    if number == DISCARDED:
        return bag, label(operator, LabelEpisode.Request.DISCARD, bag), "stopped"
    outcome = LabelEpisode.Request.SUCCESS if lifted else LabelEpisode.Request.FAILURE
    return bag, label(operator, outcome, bag), "stopped"


def label(operator: Operator, outcome: int, bag: str) -> str:
    answer = operator.label(outcome, episode=bag)
    assert answer.accepted, answer.message
    names = {
        LabelEpisode.Request.SUCCESS: "success",
        LabelEpisode.Request.FAILURE: "failure",
        LabelEpisode.Request.DISCARD: "discard",
    }
    return names[outcome]


def topics() -> list[str]:
    from molmoact_ros.profile import load_profile

    own = dict(load_profile("sim").node("recorder").parameters)["topics"]
    assert isinstance(own, list | tuple)
    return [str(line).replace("rate=10.0", f"rate={CAMERA_HZ:g}") for line in own]


def planted(folder: Path, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Copies of finished bags with one fault each."""
    whole = [r for r in rows if r["state"] == "stopped" and r["label"] == "success"]
    out = []
    plants: list[tuple[str, str, Plant]] = [
        ("gap", "gap", gap), ("gripper", "wrong_gripper", wrong_gripper), ("skew", "lag", lag),
    ]  # fmt: skip
    for source, (finding, name, plant) in zip(whole, plants, strict=False):
        bag = folder / "planted" / f"{source['bag']}_{name}"
        shutil.copytree(folder / "episodes" / str(source["bag"]), bag)
        rewrite(next(bag.glob("*.mcap")), plant)
        out.append(row(bag, str(source["label"]), f"planted: {name}", [finding]))
    return out


def row(bag: Path, label_: str, state: str, expected: list[str]) -> dict[str, object]:
    verdict = check_bag(bag)
    return {
        "bag": bag.name,
        "label": label_,
        "state": state,
        "found": sorted({finding.check for finding in verdict.findings}),
        "planted": expected,
        "sentences": [finding.sentence for finding in verdict.findings],
        "notes": list(verdict.notes),
    }


def rewrite(path: Path, plant: Plant) -> None:
    """The same file with other messages: schemas, channels and metadata stay."""
    with path.open("rb") as stream:
        reader = make_reader(stream)
        header, summary = reader.get_header(), reader.get_summary()
        assert summary is not None
        notes = list(reader.iter_metadata())
        messages = [(c.topic, m.log_time, m.data) for _, c, m in reader.iter_messages()]
    draft = path.with_suffix(".new")
    with draft.open("wb") as stream:
        writer = Writer(stream)
        writer.start(header.profile, header.library)
        schemas = {
            key: writer.register_schema(s.name, s.encoding, s.data)
            for key, s in summary.schemas.items()
        }
        channels = {
            c.topic: writer.register_channel(
                c.topic, c.message_encoding, schemas[c.schema_id], c.metadata
            )
            for c in summary.channels.values()
        }
        for topic, stamp, data in plant(messages):
            writer.add_message(channels[topic], stamp, data, stamp)
        for note in notes:
            writer.add_metadata(note.name, note.metadata)
        writer.finish()
    draft.replace(path)


def gap(messages: list[Message]) -> list[Message]:
    """The external camera is silent for 1.2 s."""
    start = messages[0][1] + 3_000_000_000
    end = start + 1_200_000_000
    return [m for m in messages if not (m[0] == PICTURES and start < m[1] < end)]


def wrong_gripper(messages: list[Message]) -> list[Message]:
    """1 was meant to close."""

    def turned(data: bytes) -> bytes:
        (value,) = struct.unpack("<d", data[-8:])
        return data[:-8] + struct.pack("<d", 1.0 - value)

    return [(t, s, turned(d) if t == GRIPPER else d) for t, s, d in messages]


def lag(messages: list[Message]) -> list[Message]:
    """Pictures of half a second ago under the stamps of now."""

    def late() -> Iterator[Message]:
        past: list[bytes] = []
        for topic, stamp, data in messages:
            if topic != PICTURES:
                yield topic, stamp, data
                continue
            past.append(data)
            old = past[max(0, len(past) - 1 - LAG_FRAMES)]
            # Behind the 4 bytes of encapsulation come seconds and nanoseconds of the stamp.
            yield topic, stamp, data[:12] + old[12:]

    return list(late())


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"took {time.monotonic() - started:.0f} s", file=sys.stderr)
    raise SystemExit(status)
