"""The model path in the loop with random weights: everything it says is refused or harmless."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from stack import stack

from molmoact_ros.control.guards import Limits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
NODES = ("sim_arm", "sim_cameras", "franka", "commander", "policy")
SECONDS = 60.0
OVERSHOOT_M = 0.01
"""The arm's controller may overshoot what the commander allowed by so much."""


def test_random_weights_drive_a_minute_within_the_guards(tmp_path: Path) -> None:
    """Nonsense from a model must look like nonsense on the page, never like an accident."""
    with stack(tmp_path, NODES, policy="molmoact", checkpoint="random") as running:
        person = running.person
        person.instruct("put the red cube on the plate")
        assert person.wait(lambda: len(person.thoughts) > 0, 60.0), running.log()
        person.listen(SECONDS)
        assert person.wait(lambda: len(person.thoughts) >= 3, 150.0), running.log()
        log = running.log()
        thoughts, poses = person.thoughts, list(person.poses)
    for thought in thoughts:
        assert "RANDOM" in thought.model
        if thought.refused:
            assert thought.refusal and not thought.actions.rows
        else:
            assert thought.actions.rows == 8 and len(thought.depth.codes) == 100
    limits = Limits()
    places = np.array([place for _, place in poses])
    assert (places > np.array(limits.box_min_m) - OVERSHOOT_M).all(), places.min(axis=0)
    assert (places < np.array(limits.box_max_m) + OVERSHOOT_M).all(), places.max(axis=0)
    assert np.linalg.norm(places - places[0], axis=1).max() > 0.01, "no chunk was executed"
    # Over half a second: single stamps are too close together for a speed.
    stamps = np.array([stamp for stamp, _ in poses])
    later = np.searchsorted(stamps, stamps + 0.5)
    for first, last in enumerate(later[later < len(stamps)]):
        speed = np.linalg.norm(places[last] - places[first]) / (stamps[last] - stamps[first])
        assert speed < 1.1 * limits.speed_m_s
    assert "Traceback" not in log and "policy failed" not in log, log
