"""What one check of a data set found: a level, the rule's name and a sentence for a person."""

from __future__ import annotations

from dataclasses import dataclass

OK, SKIP, WARN, FAIL = "ok", "skip", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    """level: ok; skip (this data cannot be judged so, words say why); warn (look at the report
    first); fail (do not train). rule: its name; words: what was found and what to do.
    """

    level: str
    rule: str
    words: str


def skipped(rule: str, why: str) -> Finding:
    """A check that does not apply."""
    return Finding(SKIP, rule, f"skipped: {why}")
