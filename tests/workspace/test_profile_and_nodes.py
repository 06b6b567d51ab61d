"""A profile and the nodes it starts agree: every parameter is declared, every name is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from molmoact_ros.profile import NodeSpec, load_profile

ROOT = Path(__file__).resolve().parents[2]
NODES = ROOT / "src" / "molmoact_ros" / "molmoact_ros" / "nodes"
OURS = [
    (profile, node.name)
    for profile in ("sim", "franka_d435_d405")
    for node in load_profile(profile).nodes
    if node.package == "molmoact_ros" and node.ros
]


def _source(spec: NodeSpec) -> str:
    own = (NODES / f"{spec.executable}_node.py").read_text(encoding="utf-8")
    shared = re.findall(r"^from molmoact_ros\.nodes\.(\w+) import", own, flags=re.MULTILINE)
    others = [(NODES / f"{name}.py").read_text(encoding="utf-8") for name in shared]
    return "\n".join([own, *others])


def _declared(source: str) -> set[str]:
    """Names in calls like ``declare("name", ...)``."""
    return set(re.findall(r"\bdeclare(?:_parameter)?\(\s*\"(\w+)\"", source))


@pytest.mark.parametrize(("profile", "name"), OURS)
def test_parameters_are_declared_by_the_node(profile: str, name: str) -> None:
    """ROS ignores a parameter nobody declared: a typing error would keep the default."""
    spec = load_profile(profile).node(name)
    assert {key for key, _ in spec.parameters} <= _declared(_source(spec))


@pytest.mark.parametrize(("profile", "name"), OURS)
def test_remapped_names_exist_in_the_node(profile: str, name: str) -> None:
    """A remapping of a name the node does not use leaves it deaf without a word."""
    spec = load_profile(profile).node(name)
    source = _source(spec)
    # inputs.py forms names from the slot: f"{slot}/image", f"{slots[0]}/depth".
    formed = {
        f"{s}/{x}" for s in ("external", "wrist") for x in re.findall(r'\]?\}/(\w+)"', source)
    }
    for topic, _ in spec.remappings:
        assert f'"{topic}"' in source or topic in formed, topic


def test_rviz_shows_topics_that_are_published() -> None:
    """An RViz display on a topic of another name stays grey and nobody knows why."""
    layout = yaml.safe_load((ROOT / "config" / "molmoact.rviz").read_text(encoding="utf-8"))
    manager = layout["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "fr3_link0"
    parts = ("viewer_node.py", "depth_pictures.py")
    viewer = "".join((NODES / name).read_text(encoding="utf-8") for name in parts)
    topics = {}
    for display in manager["Displays"]:
        settings = display.get("Topic") or display.get("Description Topic")
        if settings:
            topics[settings["Value"]] = settings["Reliability Policy"]
    for topic, reliability in topics.items():
        if topic.startswith("/viewer/"):
            assert f'"~/{topic.removeprefix("/viewer/")}"' in viewer, topic
        if topic != "/robot_description":
            # Best effort matches every publisher; reliable gets nothing from best effort.
            assert reliability == "Best Effort", topic
    assert {"/viewer/markers", "/viewer/overlay", "/viewer/depth_color", "/robot_description",
            "/cameras/wrist/color/image_raw"} <= set(topics)  # fmt: skip
