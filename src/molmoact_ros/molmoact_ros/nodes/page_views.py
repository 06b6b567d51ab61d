"""Recorder messages as the page's plain data."""

from __future__ import annotations

from molmoact_msgs.msg import EpisodeStatus, SessionStatus, TopicHealth

from molmoact_ros.web.status import RECORDER_STATES, RecorderStatus, TasksStatus, TopicView

LEVELS = {TopicHealth.OK: "ok", TopicHealth.WARN: "warn", TopicHealth.MISSING: "missing"}


def recorder_view(message: EpisodeStatus) -> RecorderStatus:
    """Topics that are well are counted, those that are not are listed."""
    return RecorderStatus(
        state=RECORDER_STATES[min(message.state, len(RECORDER_STATES) - 1)],
        task=message.task,
        elapsed=round(float(message.elapsed), 1),
        megabytes=round(message.bytes_written / 1e6, 1),
        free=float(message.seconds_free),
        dropped=message.dropped,
        detail=message.detail,
        warnings=tuple(message.warnings),
        topics=tuple(
            TopicView(t.topic, LEVELS.get(t.level, "missing"), round(float(t.rate), 1), t.detail)
            for t in message.topics
            if t.level != TopicHealth.OK
        ),
        count=len(message.topics),
    )


def tasks_view(message: SessionStatus) -> TasksStatus:
    """Every task with its successes and how many are wanted."""
    return TasksStatus(
        task=message.task,
        prompt=message.prompt,
        tasks=tuple((t.task, int(t.success), int(t.wanted)) for t in message.tasks),
    )
