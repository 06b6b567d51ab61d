"""Profiles: what a person may set, what is refused, and what the committed files promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmoact_ros.profile import (
    Argument,
    NodeSpec,
    ProfileError,
    load_profile,
    profile_path,
    read_arguments,
)

GOOD = """
profile: small
notes: for a test
arguments:
  speed: {default: 2.5, description: metres a second}
  count: {default: 3}
  who: {default: scripted, choices: [scripted, molmoact]}
  draw: {default: true}
  more: {default: false}
  text: {default: ""}
nodes:
  one:
    executable: one
    namespace: /arm
    parameters:
      {speed: "${speed}", n: "${count}", label: "v=${speed} ${who}", list: [1, "${count}"]}
    remappings: {image: "/cameras/${who}/image"}
    args: ["--draw", "${draw}"]
    respawn: true
  two: {executable: two, package: other, enabled: more}
  three: {executable: three, enabled: [draw, more]}
  four: {executable: four, ros: false, args: ["-d", "${config}/x.rviz"]}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    return path


def _with(small: Path, old: str, new: str) -> Path:
    text = small.read_text()
    assert old in text
    small.write_text(text.replace(old, new))
    return small


def test_arguments_keep_their_type(small: Path) -> None:
    """ROS refuses a parameter of another type than declared: "2" must not arrive for 2.0."""
    node = load_profile(small, {"speed": "2", "count": "7"}).node("one")
    values = dict(node.parameters)
    assert values["speed"] == 2.0
    assert isinstance(values["speed"], float)
    assert values["n"] == 7
    assert values["label"] == "v=2.0 scripted"
    assert values["list"] == [1, 7]


def test_switches_decide_what_runs(small: Path) -> None:
    """A node behind two switches needs both."""
    assert [n.name for n in load_profile(small).enabled_nodes] == ["one", "four"]
    both = load_profile(small, {"more": "true"})
    assert [n.name for n in both.enabled_nodes] == ["one", "two", "three", "four"]
    assert both.node("two").package == "other"
    assert not load_profile(small, {"more": "yes", "draw": "off"}).node("three").enabled


def test_substitution_reaches_names_and_arguments(small: Path) -> None:
    node = load_profile(small, {"who": "molmoact"}).node("one")
    assert node.remappings == (("image", "/cameras/molmoact/image"),)
    assert load_profile(small).node("four").args == ("-d", f"{small.parent}/x.rviz")


def test_booleans_are_written_as_ros_writes_them(small: Path) -> None:
    """`True` on a command line is not a YAML-1.2 boolean and no launch file says it."""
    assert load_profile(small).node("one").args == ("--draw", "true")
    assert Argument("draw", True).text == "true"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"sped": "1"}, "no argument 'sped'; there are count, draw"),
        ({"speed": "fast"}, "write a number"),
        ({"speed": "nan"}, "finite"),
        ({"count": "1.5"}, "whole number"),
        ({"draw": "maybe"}, "true or false"),
        ({"who": "openvla"}, "pick one of scripted, molmoact"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_remedy(
    small: Path, overrides: dict[str, str], words: str
) -> None:
    """A silently ignored argument is a robot in the wrong mode."""
    with pytest.raises(ProfileError, match=words):
        load_profile(small, overrides)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("respawn: true", "respwan: true", "node 'one': unknown key 'respwan'; use one of"),
        ("notes:", "note:", "unknown key 'note'"),
        ("default: 3", "defualt: 3", "argument 'count': unknown key 'defualt'"),
        ("{default: 3}", "{default: [1]}", "give a number, text, true or false"),
        ("choices: [scripted, molmoact]", "choices: [molmoact]", "not one of"),
        ("executable: one", "package: one", "no executable"),
        ("enabled: more", "enabled: moore", "name of an argument"),
        ("enabled: more", "enabled: speed", "name of an argument"),
        ("${who}/image", "${camera}/image", "is not an argument; there are"),
        ('n: "${count}"', "n: {a: 1}", "a.b: value"),
        ("nodes:", "nodes: [1", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    small: Path, old: str, new: str, words: str
) -> None:
    """A typing error in a profile must not become a default."""
    with pytest.raises(ProfileError) as refused:
        load_profile(_with(small, old, new))
    assert words in str(refused.value)
    assert str(small) in str(refused.value)


def test_a_missing_profile_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="franka_d435_d405, sim, two_arms_sim: pick one"):
        profile_path("simm")
    with pytest.raises(ProfileError, match="no such profile"):
        profile_path(str(tmp_path / "absent.yaml"))
    with pytest.raises(ProfileError, match="there are one, two, three, four"):
        path = tmp_path / "p.yaml"
        path.write_text(GOOD)
        load_profile(path).node("five")


def test_a_plain_process_gets_no_ros_arguments(small: Path) -> None:
    """The simulated arm parses its own command line and would stop at --ros-args."""
    assert "--ros-args" not in load_profile(small).node("four").arguments()
    assert load_profile(small).node("one").arguments()[:4] == ["--draw", "true", "--ros-args", "-r"]


@given(st.text(max_size=60), st.booleans(), st.integers(-(2**31), 2**31), st.floats(-1e9, 1e9))
def test_parameters_on_a_command_line_are_valid_json(
    text: str, flag: bool, whole: int, number: float
) -> None:
    """rcl reads JSON as YAML; an instruction with a colon or a quote must stay one string."""
    values = {"text": text, "flag": flag, "whole": whole, "number": number}
    command = NodeSpec("n", "n", parameters=tuple(values.items())).arguments()
    found = dict(item.split(":=", 1) for item in command[command.index("-p") :] if ":=" in item)
    assert {key: json.loads(value) for key, value in found.items()} == values


def test_rclpy_reads_the_command_line_back() -> None:
    """The one reader that counts: names, namespace, remappings and typed parameters in a node."""
    spec = NodeSpec(
        "policy",
        "policy",
        namespace="/arm",
        parameters=(("instruction", 'put: "it" on #7'), ("n", 7), ("rate", 50.0), ("go", True),
                    ("empty", ""), ("corner", [0.25, -0.45, 0.01]), ("words", ["a b", "c"])),
        remappings=(("image", "/cameras/external/color/image_raw"),),
    )  # fmt: skip
    program = """
import json, sys, rclpy
rclpy.init(args=sys.argv)
node = rclpy.create_node("x", automatically_declare_parameters_from_overrides=True)
values = {k: list(v) if type(v).__name__ == "array" else v for k, v in (
    (k, p.value) for k, p in node.get_parameters_by_prefix("").items())}
print(json.dumps([node.get_fully_qualified_name(), node.resolve_topic_name("image"), values]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *spec.arguments()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name, topic, values = json.loads(done.stdout.splitlines()[-1])
    assert name == "/arm/policy"
    assert topic == "/cameras/external/color/image_raw"
    assert {key: values[key] for key, _ in spec.parameters} == dict(spec.parameters)


@pytest.mark.parametrize("name", ["sim", "franka_d435_d405"])
def test_every_argument_of_a_committed_profile_does_something(name: str) -> None:
    """An argument nothing refers to is a promise `--show-args` makes and nobody keeps."""
    text = profile_path(name).read_text()
    switches = {"viewer", "steering", "rviz", "cameras", "franka", "think", "calibrated"}
    switches |= {"record", "teleop"}
    for argument in read_arguments(profile_path(name)):
        used = "${" + argument.name + "}" in text
        assert used or argument.name in switches, argument.name
        assert argument.description, argument.name


def test_a_real_arm_starts_in_shadow() -> None:
    """House rule: on hardware it thinks and draws until somebody says auto."""
    profile = load_profile("franka_d435_d405")
    assert dict(profile.node("policy").parameters)["mode"] == "shadow"
    assert dict(profile.node("commander").parameters)["initial_source"] == "hold"
    assert dict(profile.node("steering").parameters)["default_mode"] == "shadow"


def test_both_setups_wire_the_same_names() -> None:
    """Simulation proves the wiring of the robot only while the two are the same."""
    simulated, real = load_profile("sim"), load_profile("franka_d435_d405")
    for name in ("commander", "policy", "viewer", "steering"):
        assert dict(simulated.node(name).remappings) == dict(real.node(name).remappings), name


def test_cameras_get_the_parameters_their_sensors_read() -> None:
    """A D405 ignores rgb_camera.* without an error: its colour comes from the depth module."""
    profile = load_profile("franka_d435_d405", {"external_serial": "_831612073525"})
    external = dict(profile.node("external").parameters)
    wrist = dict(profile.node("wrist").parameters)
    assert external["align_depth.enable"] is True
    assert external["rgb_camera.color_profile"] == "640x480x30"
    assert external["serial_no"] == "_831612073525"
    assert "depth_module.color_profile" in wrist
    assert not any(key.startswith("rgb_camera") for key in wrist)
    for name in ("external", "wrist"):
        node = profile.node(name)
        assert node.namespace == "/cameras"
        assert dict(node.parameters)["camera_name"] == name
