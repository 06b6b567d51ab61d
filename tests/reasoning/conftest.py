"""Shared by the reasoning tests: where golden data lies and a contract to read answers with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.reasoning.answer import AnswerContract
from molmoact_ros.reasoning.statistics import ActionStatistics

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ROOT / "tests" / "golden"
FULL = ROOT.parent / "shared" / "golden"


@pytest.fixture(params=[root for root in (PACKAGED, FULL) if root.is_dir()], ids=lambda p: str(p))
def golden(request: pytest.FixtureRequest) -> Path:
    """The packaged golden data, and the full set too on machines that have it."""
    return Path(request.param)


@pytest.fixture(scope="session")
def statistics() -> ActionStatistics:
    return ActionStatistics(
        q01=np.array([-0.03, -0.02, -0.025, -0.1, -0.1, -0.2, 0.0]),
        q99=np.array([0.03, 0.04, 0.025, 0.1, 0.15, 0.2, 1.0]),
        mask=np.array([True] * 6 + [False]),
    )


@pytest.fixture(scope="session")
def contract(statistics: ActionStatistics) -> AnswerContract:
    return AnswerContract(statistics)
