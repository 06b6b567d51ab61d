"""`./run demo NAME:=VALUE` takes the same arguments as the launch file."""

from __future__ import annotations

import argparse

import pytest

from molmoact_ros.demo import add_arguments, demo_profile, options_from
from molmoact_ros.profile import ProfileError


def nodes(*words: str) -> dict[str, dict[str, object]]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    profile = demo_profile(options_from(parser.parse_args(words)))
    return {node.name: dict(node.parameters) for node in profile.enabled_nodes}


def test_arguments_of_the_profile_reach_its_nodes() -> None:
    plain, more = nodes(), nodes("--seed", "4", "teleop:=true", "corridor:=0.02", "record:=true")
    assert "teleop" not in plain and "recorder" not in plain
    assert {"teleop", "recorder"} <= set(more)
    assert more["commander"]["corridor_radius_m"] == 0.02
    assert plain["commander"]["corridor_radius_m"] == 0.0


def test_they_have_the_last_word() -> None:
    """What the documents say for launch files holds here, too."""
    assert nodes("policy:=molmoact", "--policy", "scripted")["policy"]["policy"] == "molmoact"
    assert nodes("--headless", "viewer:=true").keys() >= {"viewer"}


@pytest.mark.parametrize("word", ["teleop", ":=true", "telop:=true", "policy:=nobody"])
def test_a_typing_error_is_named(word: str) -> None:
    with pytest.raises(ProfileError, match=word.split(":=")[0] or "NAME:=VALUE"):
        nodes(word)
