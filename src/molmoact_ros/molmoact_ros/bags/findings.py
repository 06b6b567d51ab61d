"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """check: its short name. severity: 0 (harmless) .. 1 (useless episode). topic: "" for all."""

    check: str
    severity: float
    sentence: str
    topic: str = ""

    @property
    def score(self) -> int:
        """0..100, 100 is worst."""
        return round(100 * min(1.0, max(0.0, self.severity)))


@dataclass(frozen=True)
class Verdict:
    """Findings, worst first, and notes that are no faults (labelled failure, recovered, ...)."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def score(self) -> int:
        """0..100, 100 is a bag without findings."""
        worst = max((finding.severity for finding in self.findings), default=0.0)
        return round(100 * (1.0 - min(1.0, worst)))
