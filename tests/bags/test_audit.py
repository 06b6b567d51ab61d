"""The audit tells an operator what is wrong while it can still be mended."""

from __future__ import annotations

import pytest

from molmoact_ros.bags.audit import (
    ClockWatch,
    Level,
    TopicAudit,
    disk_seconds,
    start_refusal,
    warnings,
)
from molmoact_ros.bags.topics import BadTopic, TopicSpec, parse_topics

CAMERA = TopicSpec("/cam", "sensor_msgs/msg/Image", 30.0, True)


def _fed(spec: TopicSpec, rate: float, seconds: float = 3.0) -> TopicAudit:
    audit = TopicAudit(spec)
    audit.begin(0.0)
    for i in range(int(rate * seconds)):
        audit.seen(i / rate, 0.01)
    return audit


@pytest.mark.parametrize("rate", [30.0, 29.0, 31.0])
def test_a_healthy_stream_says_nothing(rate: float) -> None:
    """An operator who reads false alarms stops reading."""
    report = _fed(CAMERA, rate).report(3.0)
    assert report.level == Level.OK and report.detail == ""
    assert report.rate == pytest.approx(rate, abs=1.0)
    assert report.longest_gap == pytest.approx(1 / rate, abs=1e-6)


def test_a_slow_camera_is_named_with_its_rate() -> None:
    report = _fed(CAMERA, 15.0).report(3.0)
    assert report.level == Level.WARN and "15.0 Hz instead of 30" in report.detail


def test_a_required_topic_is_lost_after_a_second() -> None:
    audit = _fed(CAMERA, 30.0)
    assert not audit.lost(3.9)
    assert audit.lost(4.1)
    report = audit.report(4.1)
    assert report.level == Level.MISSING and "silent for 1.1 s" in report.detail
    assert report.longest_gap > 1.0, "a gap that is not over yet counts, too"


def test_a_slow_required_topic_may_be_slow() -> None:
    """One message in two seconds is expected of some topics; a second of silence is no loss."""
    slow = TopicSpec("/slow", "std_msgs/msg/String", 0.5, True)
    audit = _fed(slow, 0.5, 4.0)
    assert not audit.lost(5.0) and audit.lost(9.0)


def test_an_optional_topic_may_be_silent() -> None:
    report = TopicAudit(TopicSpec("/teleop", "std_msgs/msg/String")).report(100.0)
    assert report.level == Level.OK and report.age == -1.0 and report.detail == ""


def test_a_gap_before_the_episode_is_not_its_gap() -> None:
    audit = _fed(CAMERA, 30.0)
    audit.begin(10.0)
    for i in range(60):
        audit.seen(10.02 + i / 30.0)
    assert audit.report(12.0).longest_gap < 0.1
    assert audit.report(12.0).messages == 60


def test_stamps_of_another_clock_are_told() -> None:
    audit = _fed(CAMERA, 30.0)
    audit.seen(3.0, lateness=2.5)
    report = audit.report(3.0)
    assert report.level == Level.WARN and "2.5 s behind" in report.detail


def test_drops_are_told_first() -> None:
    audit = _fed(CAMERA, 30.0)
    audit.dropped = 7
    assert "7 messages could not be written" in audit.report(3.0).detail


def test_a_start_is_refused_in_words() -> None:
    silent = TopicAudit(CAMERA)
    assert "/cam: nothing received yet" in start_refusal([silent], 5.0)
    assert start_refusal([_fed(CAMERA, 30.0)], 3.0) == ""


def test_warnings_come_worst_first() -> None:
    optional = TopicSpec("/joints", "sensor_msgs/msg/JointState", 100.0)
    reports = [_fed(optional, 10.0).report(3.0), _fed(CAMERA, 5.0).report(3.0)]
    assert [w.split(":")[0] for w in warnings(reports)] == ["/cam", "/joints"]


def test_a_clock_that_is_set_is_noticed_and_drift_is_not() -> None:
    watch = ClockWatch()
    assert watch.look(1000.0, 10.0) == 0.0
    assert watch.look(1001.001, 11.0) == 0.0
    assert watch.look(4602.0, 12.0) == pytest.approx(3600.0, abs=0.01)
    assert watch.look(4603.0, 13.0) == 0.0


def test_disk_forecast() -> None:
    assert disk_seconds(10_000, 100.0, 1_000) == 90.0
    assert disk_seconds(10_000, 0.0, 0) == -1.0
    assert disk_seconds(10, 100.0, 1_000) == 0.0


def test_topic_lines() -> None:
    specs = parse_topics(["/cam sensor_msgs/msg/Image rate=30 required", "", "/n std_msgs/msg/A"])
    assert specs[0] == CAMERA and specs[1].rate == 0.0


@pytest.mark.parametrize(
    "line", ["/cam", "/cam Image", "/c a/msg/B rate=x", "/c a/msg/B rate=-1", "/c a/msg/B always"]
)
def test_a_line_that_is_not_understood_says_what_to_write(line: str) -> None:
    """A typing error must not silently leave a topic out of every bag."""
    with pytest.raises(BadTopic, match=r"write|number|0\.\.10000"):
        parse_topics([line])


def test_a_topic_is_listed_once() -> None:
    with pytest.raises(BadTopic, match="listed twice"):
        parse_topics(["/n std_msgs/msg/A", "/n std_msgs/msg/A"])
