"""Whatever ends a recording, only its end is lost, and everybody can read the rest.

The cases are those of `benchmarks/recorder.py crash`, which measures the half second. Here the
limit is wide: a busy machine may give the recorder no time at all for a second.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import recorder_crashes as crashes

pytestmark = pytest.mark.timeout(400)


def _check(row: dict, lost: float = 4.0) -> None:
    assert row["problems"] == []
    assert row["in_bag"] > 20, "nothing was recorded: the test would prove nothing"
    assert row["seconds_lost"] <= lost
    assert row["origin"], "an episode without its task is worth nothing"
    assert len(set(row["readers"].values())) == 1, "readers disagree about the bag"


def test_kill(tmp_path: Path) -> None:
    """kill -9: what the writer had not yet handed to the system is gone, nothing else."""
    row = crashes.case("kill -9", tmp_path, crashes.killed(signal.SIGKILL))
    _check(row)
    assert row["recovered_at_start_up"] and row["ended"] == "cut off"


def test_sigterm(tmp_path: Path) -> None:
    """A shutdown of the machine saves the episode in the ordinary way."""
    row = crashes.case("SIGTERM", tmp_path, crashes.killed(signal.SIGTERM))
    _check(row)
    assert not row["recovered_at_start_up"] and row["ended"] == "stopped"


def test_writer_thread_dies(tmp_path: Path) -> None:
    row = crashes.case("writer", tmp_path, crashes.until_it_ends, crashes.DYING_WRITER)
    assert row["problems"] == [] and len(set(row["readers"].values())) == 1
    assert row["readers"]["mcap"] > 20


def test_full_disk(tmp_path: Path) -> None:
    """A real small disk; without the right to mount one, test_bag_recovery plants the error."""
    row = crashes.full_disk(tmp_path / "disk")
    if "skipped" in row:
        pytest.skip(str(row["skipped"]))
    assert row["problems"] == [] and row["readers"]["rosbags"] == row["readers"]["mcap"] > 20


def test_camera_unplugged_and_back(tmp_path: Path) -> None:
    """The episode ends within two seconds and is kept; the next one starts when it is back."""
    row = crashes.case("camera", tmp_path, crashes.unplugged)
    _check(row, lost=6.0)
    assert row["ended"] == "topic_lost"
    assert len(list((tmp_path / "episodes").iterdir())) == 2


def test_a_clock_that_is_set_neither_tears_nor_reorders(tmp_path: Path) -> None:
    row = crashes.case("clock", tmp_path, crashes.stopped, crashes.SET_CLOCK)
    assert row["ended"] == "stopped" and row["holes"] == 0
    episode = tmp_path / "episodes" / "episode_000001"
    reader = crashes.BagReader(episode)
    assert 5.0 < reader.seconds < 60.0, "the bag's time must run on when the clock is set"
