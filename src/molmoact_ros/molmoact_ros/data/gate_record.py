"""What the gate found last, beside the data: training does not check again what was checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from molmoact_ros.data.card import CARD_FILE
from molmoact_ros.data.dataset import EPISODES, STATISTICS, DataSet
from molmoact_ros.data.finding import FAIL, Finding
from molmoact_ros.data.gate import run_gate

GATE_FILE = "gate.json"
_RULES = 1
"""Counts up when a rule changes, so that what passed an older gate is looked at again."""


def gate_before_training(folder: Path) -> list[str]:
    """What speaks against training on this data set, a sentence a finding; empty: train.

    Takes the findings of the last check of the same data; otherwise checks now (seconds to a
    minute; without the simulated arm) and keeps them. Call it in one process only. Raises BadCard,
    BadData or OSError for a folder that cannot be read.
    """
    findings = read_findings(folder)
    if findings is None:
        findings = run_gate(DataSet(folder, ""), simulate=False)
        keep_findings(folder, findings)
    return [f"{f.rule}: {f.words}" for f in findings if f.level == FAIL]


def keep_findings(folder: Path, findings: Sequence[Finding]) -> None:
    """Write them; a folder that cannot be written is checked again next time."""
    scratch = folder / f"{GATE_FILE}.part"
    kept = {"rules": _RULES, "data": _digest(folder), "findings": [asdict(f) for f in findings]}
    try:
        scratch.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        scratch.replace(folder / GATE_FILE)
    except OSError:
        return


def read_findings(folder: Path) -> list[Finding] | None:
    """Those of this very data and these rules, or None."""
    try:
        kept = json.loads((folder / GATE_FILE).read_text(encoding="utf-8"))
        if kept["rules"] == _RULES and kept["data"] == _digest(folder):
            return [Finding(**one) for one in kept["findings"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (EPISODES, STATISTICS, CARD_FILE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
