"""``molmoact check DATA``: is this data set worth training on? Writes DATA/report.html."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from molmoact_ros.data.card import BadCard
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.finding import FAIL
from molmoact_ros.data.gate import run_gate
from molmoact_ros.data.gate_record import keep_findings
from molmoact_ros.data.lengths import LIMIT
from molmoact_ros.data.report import write_report
from molmoact_ros.data.rows import BadData
from molmoact_ros.model.config import CheckpointError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact check``."""
    parser.add_argument("data", type=Path, help="folder written by molmoact label")
    parser.add_argument("--report", type=Path, help="HTML file; default: DATA/report.html")
    parser.add_argument("--base", type=Path, help="checkpoint whose vocabulary counts tokens")
    parser.add_argument("--limit", type=int, default=LIMIT, help="tokens of a sequence")
    parser.add_argument(
        "--depth-weights", type=Path, help="the VQ-VAE that label was given, to show depth"
    )
    parser.add_argument(
        "--no-simulation", action="store_true", help="do not drive an episode on the simulated arm"
    )


def run(values: argparse.Namespace) -> int:
    """Exit status 0: train; 1: do not; 2: it cannot be read."""
    try:
        data = DataSet(values.data, "")
        findings = run_gate(data, values.base, values.limit, not values.no_simulation)
        keep_findings(values.data, findings)
        page = values.report or values.data / "report.html"
        write_report(page, data, findings, depth_weights=values.depth_weights)
    except (BadCard, BadData, CheckpointError, ValueError, OSError) as error:
        sys.stderr.write(f"molmoact check: {error}\n")
        return 2
    for finding in findings:
        sys.stdout.write(f"{finding.level:4} {finding.rule:10} {finding.words}\n")
    return int(any(finding.level == FAIL for finding in findings))
