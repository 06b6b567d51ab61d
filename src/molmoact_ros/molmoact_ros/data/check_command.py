"""``molmoact check DATA``: is this data set worth training on? Writes DATA/report.html."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from molmoact_ros.data.card import BadCard
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.gate import FAIL, run_gate
from molmoact_ros.data.report import write_report
from molmoact_ros.data.rows import BadData


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact check``."""
    parser.add_argument("data", type=Path, help="folder written by molmoact label")
    parser.add_argument("--report", type=Path, help="HTML file; default: DATA/report.html")


def run(values: argparse.Namespace) -> int:
    """Exit status 0: train; 1: do not; 2: it cannot be read."""
    try:
        data = DataSet(values.data, "")
        findings = run_gate(data)
        write_report(values.report or values.data / "report.html", data, findings)
    except (BadCard, BadData, ValueError, OSError) as error:
        sys.stderr.write(f"molmoact check: {error}\n")
        return 2
    for finding in findings:
        sys.stdout.write(f"{finding.level:4} {finding.rule:10} {finding.words}\n")
    return int(any(finding.level == FAIL for finding in findings))
