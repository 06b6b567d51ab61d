"""Labelling in several processes, one of which is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from molmoact_ros.data.workers import in_processes

sys.path.insert(0, str(Path(__file__).parent))
from worker_helpers import double


def test_a_killed_process_costs_its_own_job_only() -> None:
    found = list(in_processes(double, [1, 2, 3, 4, 5], 2, lambda number: -number))
    assert found == [2, 4, -3, 8, 10]
