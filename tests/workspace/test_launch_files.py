"""Launch files start what the profile says. `launch` is not in the wheels: where it is missing
its handful of classes is replaced by records, so that what a robot would run can be read."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


class Record:
    """Stands for any class of launch: remembers what it was made with."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options


class Context(dict[str, str]):
    """Launch configurations: what the user typed, else the declared default."""


class FakeConfiguration(Record):
    def perform(self, context: Context) -> str:
        return context[self.args[0]]


@dataclass
class Fake:
    """The modules put in place of launch, and the share folders 'installed'."""

    share: dict[str, str] = field(default_factory=dict)

    def modules(self) -> dict[str, ModuleType]:
        class MissingPackage(KeyError):
            pass

        def find(package: str) -> str:
            if package not in self.share:
                raise MissingPackage(package)
            return self.share[package]

        def classes(*names: str) -> dict[str, Any]:
            return {name: type(name, (Record,), {}) for name in names}

        contents: dict[str, dict[str, Any]] = {
            "launch": classes("LaunchDescription"),
            "launch.actions": classes(
                "DeclareLaunchArgument",
                "ExecuteProcess",
                "LogInfo",
                "OpaqueFunction",
                "SetEnvironmentVariable",
            ),
            "launch.substitutions": {
                **classes("Command"),
                "LaunchConfiguration": FakeConfiguration,
            },
            "launch_ros": {},
            "launch_ros.actions": classes("Node"),
            "launch_ros.parameter_descriptions": classes("ParameterValue"),
            "launch_ros.substitutions": classes("ExecutableInPackage"),
            "ament_index_python": {},
            "ament_index_python.packages": {
                "PackageNotFoundError": MissingPackage,
                "get_package_share_directory": find,
            },
        }
        found = {}
        for name, members in contents.items():
            module = ModuleType(name)
            module.__dict__.update(members)
            found[name] = module
        return found


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    replaced = Fake(share={"franka_description": "/opt/ros/jazzy/share/franka_description"})
    for name, module in replaced.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "molmoact_ros.launching", raising=False)
    yield replaced
    # It holds the fakes: the next import must find the real ones again.
    sys.modules.pop("molmoact_ros.launching", None)


def _launch(name: str, **given: str) -> SimpleNamespace:
    spec = importlib.util.spec_from_file_location("launch_file", ROOT / "launch" / name)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().args[0]
    declared = [e for e in entities if type(e).__name__ == "DeclareLaunchArgument"]
    context = Context({item.args[0]: item.options["default_value"] for item in declared})
    assert set(given) <= set(context), "not a launch argument"
    context.update(given)
    actions = [
        action
        for entity in entities
        if type(entity).__name__ == "OpaqueFunction"
        for action in entity.options["function"](context)
    ]
    nodes = {a.options["name"]: a.options for a in actions if "name" in a.options}
    logs = [a.options["msg"] for a in actions if type(a).__name__ == "LogInfo"]
    variables = [e.args for e in entities if type(e).__name__ == "SetEnvironmentVariable"]
    return SimpleNamespace(
        declared=declared, actions=actions, nodes=nodes, logs=logs, variables=variables
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_launch_files_are_thin(path: Path) -> None:
    """What runs is in config/: a second list of nodes in a launch file would drift from it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert functions == ["generate_launch_description"]
    assert ast.get_docstring(tree)
    assert not any(isinstance(node, (ast.For, ast.If, ast.Dict)) for node in ast.walk(tree))


def test_demo_starts_the_simulation(fake: Fake) -> None:
    """The demo of a robot PC is the one of ./run demo."""
    run = _launch("demo.launch.py", seed="7", instruction="pick up the blue cube")
    assert {"sim_arm", "sim_cameras", "franka", "commander", "policy", "viewer", "steering"} == set(
        run.nodes
    )
    assert run.nodes["policy"]["parameters"][0]["instruction"] == "pick up the blue cube"
    assert run.nodes["sim_arm"]["cmd"][1:] == ["--host", "127.0.0.1", "--seed", "7"]
    assert ("external/image", "/cameras/external/color/image_raw") in run.nodes["policy"][
        "remappings"
    ]


def test_bringup_starts_in_shadow(fake: Fake) -> None:
    """A real arm must not move because somebody typed the shortest command."""
    run = _launch("bringup.launch.py")
    assert run.nodes["policy"]["parameters"][0]["mode"] == "shadow"
    assert _launch("bringup.launch.py", mode="auto").nodes["policy"]["parameters"][0]["mode"] == (
        "auto"
    )


@pytest.mark.parametrize(
    ("argument", "gone"),
    [
        ("cameras", {"external", "wrist"}),
        ("franka", {"franka", "commander", "robot_state_publisher"}),
        ("think", {"policy"}),
        ("viewer", {"viewer"}),
        ("steering", {"steering"}),
        ("rviz", {"rviz"}),
    ],
)
def test_every_part_is_behind_an_argument(fake: Fake, argument: str, gone: set[str]) -> None:
    """Cameras or the arm often run on another machine already."""
    everything = set(_launch("bringup.launch.py").nodes)
    assert gone <= everything
    assert set(_launch("bringup.launch.py", **{argument: "false"}).nodes) == everything - gone


def test_calibration_is_published_only_when_asked(fake: Fake) -> None:
    """A made-up camera pose draws the trace in the wrong place, convincingly."""
    assert "external_camera_pose" not in _launch("bringup.launch.py").nodes
    calibrated = _launch("bringup.launch.py", calibrated="true").nodes
    assert calibrated["external_camera_pose"]["package"] == "tf2_ros"
    assert "wrist_camera_pose" in calibrated


def test_robot_model_comes_from_xacro(fake: Fake) -> None:
    node = _launch("bringup.launch.py").nodes["robot_state_publisher"]
    value = node["parameters"][0]["robot_description"]
    assert type(value).__name__ == "ParameterValue"
    command = "".join(value.args[0].args[0])
    assert command == (
        "xacro /opt/ros/jazzy/share/franka_description/robots/fr3/fr3.urdf.xacro hand:=true"
    )


def test_a_missing_robot_model_is_a_sentence_not_a_crash(fake: Fake) -> None:
    """The picture of the arm is not worth the arm: everything else starts."""
    fake.share.clear()
    run = _launch("bringup.launch.py")
    assert "robot_state_publisher" not in run.nodes
    assert "franka" in run.nodes
    assert any("franka_description is not installed" in text for text in run.logs)


def test_arguments_are_declared_with_choices_and_words(fake: Fake) -> None:
    """`--show-args` is the manual people read."""
    declared = {item.args[0]: item.options for item in _launch("bringup.launch.py").declared}
    assert declared["mode"]["choices"] == ["shadow", "review", "auto"]
    assert declared["cameras"]["default_value"] == "true"
    assert all(options["description"] for options in declared.values())


def test_pictures_fit_into_shared_memory(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast DDS's own 512 kB hold no picture of 640x480; somebody's own settings stay."""
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    [(name, file)] = _launch("demo.launch.py").variables
    assert name == "FASTRTPS_DEFAULT_PROFILES_FILE"
    assert Path(file).samefile(ROOT / "config/fastdds.xml")
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/etc/mine.xml")
    assert _launch("demo.launch.py").variables == []


def test_with_the_real_launch_package() -> None:
    """Where ROS is installed the files are run as ros2 launch would."""
    pytest.importorskip("launch_ros", reason="not in the wheels; runs on a ROS 2 installation")
    from launch import LaunchContext

    for path in FILES:
        spec = importlib.util.spec_from_file_location("launch_file", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        description = module.generate_launch_description()
        context = LaunchContext()
        for entity in description.entities[:-1]:
            entity.visit(context)
        assert description.entities[-1].visit(context)
