"""The shipped layouts name topics that the simulated robot has, and types that fit them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).parents[2] / "config"
TYPES = {
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
}
# What the nodes of the sim profile publish.
TOPICS = {
    "/viewer/markers": "visualization_msgs/msg/MarkerArray",
    "/viewer/overlay": "sensor_msgs/msg/Image",
    "/viewer/depth_color": "sensor_msgs/msg/Image",
    "/cameras/wrist/color/image_raw": "sensor_msgs/msg/Image",
}


def rviz_topics() -> dict[str, tuple[str, str]]:
    """Topic -> (display class, reliability) of every display that is switched on."""
    body = yaml.safe_load((CONFIG / "molmoact.rviz").read_text(encoding="utf-8"))
    found = {}
    for display in body["Visualization Manager"]["Displays"]:
        if display["Enabled"] and "Topic" in display:
            topic = display["Topic"]
            found[topic["Value"]] = (display["Class"], topic["Reliability Policy"])
    return found


def foxglove_topics() -> set[str]:
    body = json.loads((CONFIG / "molmoact.foxglove.json").read_text(encoding="utf-8"))
    found = set()
    for panel in body["configById"].values():
        found.update(panel.get("topics", {}))
        if "imageMode" in panel:
            found.add(panel["imageMode"]["imageTopic"])
    return found


def test_rviz_shows_the_thought_and_both_cameras_best_effort() -> None:
    """A reliable subscription would never match the viewer's best-effort pictures."""
    shown = rviz_topics()
    assert set(shown) == set(TOPICS)
    for topic, (kind, reliability) in shown.items():
        assert TYPES[kind] == TOPICS[topic]
        assert reliability == "Best Effort"


def test_foxglove_shows_the_same() -> None:
    assert foxglove_topics() == set(TOPICS)


def test_every_panel_of_the_foxglove_layout_is_configured() -> None:
    body = json.loads((CONFIG / "molmoact.foxglove.json").read_text(encoding="utf-8"))

    def leaves(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        assert isinstance(node, dict)
        return leaves(node["first"]) + leaves(node["second"])

    assert sorted(leaves(body["layout"])) == sorted(body["configById"])


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_no_layout_names_a_topic_twice(topic: str) -> None:
    text = (CONFIG / "molmoact.rviz").read_text(encoding="utf-8")
    assert text.count(f"Value: {topic}\n") == 1
