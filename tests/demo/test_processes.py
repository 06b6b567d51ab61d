"""Which core a node gets on a computer with two of them."""

from __future__ import annotations

import os

import pytest

from molmoact_ros.processes import cores_of, process_of, processes_of
from molmoact_ros.profile import NodeSpec, load_profile


def nodes(policy: str) -> tuple[NodeSpec, ...]:
    return load_profile("sim", {"policy": policy}).enabled_nodes


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 7})


@pytest.mark.usefixtures("two_cores")
def test_a_thought_has_a_core_for_itself() -> None:
    cores = cores_of(nodes("molmoact"))
    assert cores["policy"] == 7
    assert {cores[name] for name in ("sim_arm", "sim_cameras", "franka")} == {4}
    assert "viewer" not in cores and "commander" not in cores
    given = {spec.name: spec.core for spec in processes_of(nodes("molmoact"))}
    assert given["policy"] == 7 and given["viewer"] is None


@pytest.mark.usefixtures("two_cores")
def test_without_a_model_nobody_is_tied_to_a_core() -> None:
    assert cores_of(nodes("scripted")) == {}


@pytest.mark.parametrize("count", [1, 3, 16])
def test_other_computers_share_their_cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)))
    assert cores_of(nodes("molmoact")) == {}


def test_a_node_that_runs_alone_is_not_tied() -> None:
    assert process_of(load_profile("sim").node("franka")).core is None
