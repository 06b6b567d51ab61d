"""The recorder's views as messages."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Time
from molmoact_msgs.msg import EpisodeEvent, EpisodeStatus, SessionStatus, TaskCount, TopicHealth
from std_msgs.msg import Header

from molmoact_ros.bags import events
from molmoact_ros.bags.audit import Report
from molmoact_ros.bags.recorder_types import View
from molmoact_ros.bags.session import Session


def health_messages(reports: Sequence[Report]) -> list[TopicHealth]:
    return [
        TopicHealth(
            topic=report.topic,
            level=int(report.level),
            required=report.required,
            rate=float(report.rate),
            expected_rate=float(report.expected_rate),
            longest_gap=float(report.longest_gap),
            age=float(report.age),
            messages=report.messages,
            dropped=report.dropped,
            detail=report.detail,
        )
        for report in reports
    ]


def status_message(view: View, stamp: Time) -> EpisodeStatus:
    return EpisodeStatus(
        header=Header(stamp=stamp),
        state=int(view.state),
        episode_id=view.episode_id,
        task=view.task,
        operator_name=view.operator,
        elapsed=float(view.elapsed),
        messages=view.messages,
        dropped=view.dropped,
        bytes_written=view.bytes_written,
        bytes_free=view.bytes_free,
        seconds_free=float(view.seconds_free),
        bag_path=view.bag_path,
        detail=view.detail,
        warnings=list(view.warnings),
        topics=health_messages(view.topics),
    )


def session_message(session: Session, stamp: Time) -> SessionStatus:
    return SessionStatus(
        header=Header(stamp=stamp),
        operator_name=session.operator,
        scene=session.scene,
        prompt=session.prompt,
        index=session.index,
        task=session.task,
        tasks=[
            TaskCount(
                task=count.task,
                wanted=count.wanted,
                success=count.success,
                failure=count.failure,
                discarded=count.discard,
                unlabelled=count.unlabelled,
            )
            for count in session.tasks
        ],
    )


def event_message(event: events.EpisodeEvent) -> EpisodeEvent:
    sec, nanosec = divmod(event.stamp_ns, 10**9)
    return EpisodeEvent(
        header=Header(stamp=Time(sec=sec, nanosec=nanosec)),
        event=int(event.event),
        episode_id=event.episode_id,
        task=event.task,
        operator_name=event.operator,
        outcome=event.outcome,
        text=event.text,
    )
