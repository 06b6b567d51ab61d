"""Is this episode worth training on? Every check of a bag, in sentences with a score each."""

from __future__ import annotations

from pathlib import Path

from molmoact_ros.bags.check_motion import MotionLimits, check_motion
from molmoact_ros.bags.check_timing import TimingLimits, check_timing
from molmoact_ros.bags.findings import Finding, Verdict
from molmoact_ros.bags.reader import BagReader
from molmoact_ros.bags.roles import Roles, stored_name
from molmoact_ros.bags.signals import Signals, read_signals
from molmoact_ros.reasoning.statistics import ActionStatistics


def check_bag(
    path: Path,
    *,
    roles: Roles | None = None,
    statistics: ActionStatistics | None = None,
    timing: TimingLimits | None = None,
    motion: MotionLimits | None = None,
    pictures: bool = True,
) -> Verdict:
    """Verdict of one bag. Raises BadBag when it cannot be read at all."""
    roles = roles or Roles()
    reader = BagReader(path)
    signals = read_signals(reader, roles, pictures=pictures)
    found = [
        *_contents(reader, roles),
        *_dropped(signals),
        *check_timing(signals, timing),
        *check_motion(signals, statistics, motion),
    ]
    found.sort(key=lambda finding: -finding.severity)
    return Verdict(tuple(found), tuple(_notes(signals)))


def _contents(reader: BagReader, roles: Roles) -> list[Finding]:
    needed = {"external camera": roles.external, "measured pose": roles.measured}
    return [
        Finding("missing", 1.0, f"the bag has no {what} ({topic}): add it to the recorder", topic)
        for what, topic in needed.items()
        if stored_name(reader, topic) is None
    ]


def _dropped(signals: Signals) -> list[Finding]:
    text = signals.custom.get("dropped", "0")
    dropped = int(text) if text.isdigit() else 0
    if not dropped:
        return []
    return [
        Finding(
            "dropped",
            0.8,
            f"{dropped} messages came but were not written: the disk or the compression was too "
            "slow; lower the frame rate or add compress_threads",
        )
    ]


def _notes(signals: Signals) -> list[str]:
    custom = signals.custom
    notes = []
    if custom.get("recovered") == "true":
        notes.append(f"recovered after a crash; {custom.get('lost_bytes', '0')} bytes were cut off")
    outcome = custom.get("outcome", "")
    notes.append(f"labelled {outcome}" if outcome else "not labelled yet")
    if custom.get("ended") not in (None, "", "stopped", "timed_out"):
        notes.append(f"ended by {custom['ended']}: {custom.get('ended_because', '')}")
    if not custom.get("task"):
        notes.append("no task is written in it")
    return notes
