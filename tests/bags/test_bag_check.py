"""`bag check` finds the faults that spoil a demonstration, and nothing where nothing is wrong."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bag_helpers import T0, image, topic

from molmoact_ros.bags.cdr import CdrWriter
from molmoact_ros.bags.check import check_bag
from molmoact_ros.bags.pictures import Codec
from molmoact_ros.bags.take import Take
from molmoact_ros.reasoning.statistics import ActionStatistics

EXTERNAL = "/cameras/external/color/image_raw"
WRIST = "/cameras/wrist/color/image_raw"


def _doubles(writer: CdrWriter, values: list[float]) -> bytes:
    raw = writer.bytes()
    raw += b"\0" * (-(len(raw) - 4) % 8)
    return raw + np.array(values, "<f8").tobytes()


def pose(stamp: int, x: float, y: float, z: float) -> bytes:
    """PoseStamped, tool pointing down."""
    return _doubles(CdrWriter().header(stamp, "fr3_link0"), [x, y, z, 1.0, 0.0, 0.0, 0.0])


def fingers(stamp: int, width: float) -> bytes:
    """JointState of two fingers."""
    writer = CdrWriter().header(stamp).uint32(2).string("left").string("right").uint32(2)
    body = _doubles(writer, [width / 2, width / 2])
    tail = CdrWriter()
    return body + tail.uint32(0).uint32(0).bytes()[4:]


def number(value: float) -> bytes:
    """Float64."""
    return _doubles(CdrWriter(), [value])


@dataclass(frozen=True)
class Faults:
    """What is planted. camera_delay: seconds that pictures lag behind, with right stamps;
    late_stamps: seconds between stamp and arrival of the wrist camera."""

    gap: tuple[float, float] | None = None
    gripper_sign: float = 1.0
    camera_delay: float = 0.0
    late_stamps: float = 0.0
    speed: float = 1.0
    rest: float = 0.0


def where(t: float, faults: Faults) -> np.ndarray:
    """Tool position: strokes and pauses, as a person moves an arm. Metres."""
    t = max(0.0, t - faults.rest) * faults.speed
    x = 0.5 + 0.12 * np.sin(0.9 * t) + 0.04 * np.sin(2.3 * t + 1.0)
    y = 0.15 * np.sin(0.6 * t + 0.3) * np.tanh(t)
    return np.array([x, y, 0.25 + 0.08 * np.cos(1.4 * t)])


_Y, _X = np.mgrid[0:48, 0:64]
_TABLE = (40 + 3 * _Y[..., None] + np.array([0, 10, 20])).astype(np.float64)


def view(t: float, faults: Faults, rng: np.random.Generator) -> np.ndarray:
    """A bright tool over a table, seen from above, with camera noise."""
    p = where(t - faults.camera_delay, faults)
    spot = np.exp(-((_X - 200 * (p[0] - 0.35)) ** 2 + (_Y - 24 - 120 * p[1]) ** 2) / 30.0)
    picture = _TABLE + 150 * spot[..., None] + rng.normal(0, 1.0, _TABLE.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def episode(folder: Path, faults: Faults, seconds: float = 14.0, seed: int = 0) -> Path:
    """A demonstration of 14 s with whatever is planted in it."""
    rng = np.random.default_rng(seed)
    names = {
        EXTERNAL: "sensor_msgs/msg/Image",
        WRIST: "sensor_msgs/msg/Image",
        "/current_pose": "geometry_msgs/msg/PoseStamped",
        "/target_pose": "geometry_msgs/msg/PoseStamped",
        "/gripper/joint_states": "sensor_msgs/msg/JointState",
        "/gripper_command": "std_msgs/msg/Float64",
    }
    rates = f"{EXTERNAL}=15,{WRIST}=15,/current_pose=50"
    custom = {"task": "pick up the cube", "outcome": "success", "expected_rates": rates}
    take = Take(folder, [topic(n, t) for n, t in names.items()], custom, Codec(quality=95))
    take.start()
    width, command = 0.08, 1.0
    for tick in range(int(seconds * 50)):
        t = tick / 50 + rng.uniform(0, 0.004)
        now = T0 + int(t * 1e9)
        x, y, z = where(t, faults)
        take.put("/current_pose", now, now, pose(now, x, y, z))
        x, y, z = where(t + 0.1, faults)
        take.put("/target_pose", now, now, pose(now, x, y, z))
        if tick % 5 == 0:
            closed = 4.0 < t < 9.0
            command = 0.0 if closed == (faults.gripper_sign > 0) else 1.0
            take.put("/gripper_command", now, now, number(command))
            width += np.clip((0.03 if closed else 0.08) - width, -0.01, 0.01)
        take.put("/gripper/joint_states", now, now, fingers(now, float(width)))
        if tick % 3 == 0 and not (faults.gap and faults.gap[0] < t < faults.gap[1]):
            stamp = now - 30_000_000
            picture = view(t - 0.03, faults, rng)
            take.put(EXTERNAL, now, now, image(stamp, picture))
        if tick % 3 == 0:
            stamp = now - 30_000_000 - int(faults.late_stamps * 1e9)
            take.put(WRIST, now, now, image(stamp, view(t - 0.03, Faults(), rng)))
    bag = take.stop({"ended": "stopped", "dropped": "0"})
    assert not take.error and not take.dropped
    return bag


WIDE = ActionStatistics(
    q01=np.array([-0.02] * 3 + [-0.1] * 3 + [0.0]),
    q99=np.array([0.02] * 3 + [0.1] * 3 + [1.0]),
    mask=np.array([True] * 6 + [False]),
)
PLANTED = {
    "clean": (Faults(), set()),
    "gap": (Faults(gap=(6.0, 7.2)), {"gap"}),
    "gripper": (Faults(gripper_sign=-1.0), {"gripper"}),
    "delayed camera": (Faults(camera_delay=0.4), {"skew"}),
    "wrong stamps": (Faults(late_stamps=0.3), {"delay"}),
    "too fast": (Faults(speed=3.5), {"saturation"}),
    "asleep": (Faults(rest=10.0), {"idle"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    """A check that cries wolf is switched off; one that misses a wrong sign costs a training."""
    faults, expected = PLANTED[name]
    verdict = check_bag(episode(tmp_path / "e", faults), statistics=WIDE)
    assert {finding.check for finding in verdict.findings} == expected, verdict.findings
    for finding in verdict.findings:
        assert 0 < finding.score <= 100 and ":" in finding.sentence
    assert (verdict.score == 100) == (not expected)
    assert "labelled success" in verdict.notes


def test_two_faults_are_two_sentences(tmp_path: Path) -> None:
    faults = Faults(gap=(6.0, 7.2), gripper_sign=-1.0)
    verdict = check_bag(episode(tmp_path / "e", faults), statistics=WIDE)
    assert [finding.check for finding in verdict.findings] == ["gripper", "gap"]
    assert verdict.score == 0


def test_the_gap_is_placed(tmp_path: Path) -> None:
    verdict = check_bag(episode(tmp_path / "e", Faults(gap=(6.0, 7.2))), statistics=WIDE)
    sentence = verdict.findings[0].sentence
    assert re.match(rf"{EXTERNAL}/compressed is silent for 1\.2\d s at (5\.9|6\.0) s", sentence)
