"""Which topics are recorded, as one writes them in a profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FORM = "'/name package/msg/Type', then any of rate=HZ, required"


class BadTopic(ValueError):
    """A line of the topic list that is not understood; says what to write."""


@dataclass(frozen=True)
class TopicSpec:
    """rate: Hz one expects, 0 when it depends. required: a take needs it all the time."""

    name: str
    type: str
    rate: float = 0.0
    required: bool = False


def parse_topics(lines: Sequence[str]) -> tuple[TopicSpec, ...]:
    """``/joint_states sensor_msgs/msg/JointState rate=100 required`` a line. Raises BadTopic."""
    specs = [_parse(line) for line in lines if line.strip()]
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadTopic(f"topic {twice[0]} is listed twice; keep one line")
    return tuple(specs)


def _parse(line: str) -> TopicSpec:
    words = line.split()
    if len(words) < 2 or words[1].count("/") != 2:
        raise BadTopic(f"topic line {line!r}: write {FORM}")
    rate, required = 0.0, False
    for word in words[2:]:
        if word == "required":
            required = True
        elif word.startswith("rate="):
            rate = _rate(line, word.removeprefix("rate="))
        else:
            raise BadTopic(f"topic line {line!r}: {word!r} is unknown; write {FORM}")
    return TopicSpec(words[0], words[1], rate, required)


def _rate(line: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError as error:
        raise BadTopic(f"topic line {line!r}: rate={text} is no number") from error
    if not math.isfinite(rate) or not 0.0 <= rate <= 10_000.0:
        raise BadTopic(f"topic line {line!r}: rate {rate} must lie in 0..10000 Hz")
    return rate
