"""Counting: shares with intervals, and the table that every success benchmark prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_Z95 = 1.959964


@dataclass(frozen=True)
class Share:
    """done of tried, with the 95 % Wilson interval low..high (E. B. Wilson, 1927)."""

    done: int
    tried: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.done}/{self.tried}"

    @property
    def interval(self) -> str:
        """In per cent."""
        return f"{100 * self.low:.0f}..{100 * self.high:.0f} %"


def share_of(successes: Iterable[bool]) -> Share:
    """Of nothing tried, nothing is known: 0..1."""
    values = [bool(value) for value in successes]
    done, tried = sum(values), len(values)
    if not tried:
        return Share(0, 0, 0.0, 1.0)
    z, p = _Z95, done / tried
    middle = (p + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z / (1 + z * z / tried) * math.sqrt(p * (1 - p) / tried + z * z / (4 * tried**2))
    return Share(done, tried, max(0.0, middle - half), min(1.0, middle + half))


def success_table(rows: Sequence[Mapping[str, Any]], by: str = "family") -> str:
    """Lines of text, a row for every value of ``by`` in the order they come.

    rows hold ``by``, success, seconds, thoughts and refused.
    """
    head = f"{by:<14}{'success':>9}{'95 %':>12}{'median s':>10}{'thoughts':>10}{'refused':>9}"
    lines = [head]
    for value in dict.fromkeys(row[by] for row in rows):
        mine = [row for row in rows if row[by] == value]
        share = share_of(row["success"] for row in mine)
        times = sorted(float(row["seconds"]) for row in mine if row["success"])
        median = f"{times[len(times) // 2]:.1f}" if times else "-"
        thoughts = sum(int(row["thoughts"]) for row in mine)
        refused = sum(int(row["refused"]) for row in mine)
        lines.append(
            f"{value:<14}{share!s:>9}{share.interval:>12}{median:>10}{thoughts:>10}{refused:>9}"
        )
    return "\n".join(lines)
