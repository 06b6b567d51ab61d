"""Whatever happens to the arm: it does the safe thing, says so in words, and moves again.

The cases are those of benchmarks/fault_matrix.py, which prints them as a table. Every one goes
through the real nodes and the real franky against the simulator.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("franky", reason="needs franky-control, see requirements/sim.txt")
pytest.importorskip("franky_sim", reason="needs franky-sim, see requirements/sim.txt")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from arm_bench import ArmBench, arm_bench
from fault_matrix import CASES

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture(scope="module")
def bench() -> Iterator[ArmBench]:
    with arm_bench() as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_it_is_safe_said_in_words_and_left_again(bench: ArmBench, name: str) -> None:
    """An arm that stops without a word, or that stops for good, is switched off and not used."""
    bench.ready()
    outcome = CASES[name](bench)
    assert outcome.safe, f"what the arm did: {outcome.did}"
    assert len(outcome.message) > 20, "nobody was told"
    assert outcome.moves_again, f"it did not come back ({outcome.back})"
