"""What a robot PC gets told: dependencies, programs, versions, pins. None can be seen to be wrong
on the machine it was written on."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {name: ROOT / "src" / name for name in ("molmoact_msgs", "molmoact_ros")}
CODE = PACKAGES["molmoact_ros"] / "molmoact_ros"
# Module -> rosdep key, where the two differ. None: named in requirements/robot.txt instead.
KEYS = {
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "yaml": "python3-yaml",
    "aiohttp": "python3-aiohttp",
    "msgpack": "python3-msgpack",
    "PIL": "python3-pil",
}
PIP = {"websockets", "torch", "transformers", "tokenizers", "safetensors", "av", "franky", "hid"}
PIP |= {"mcap", "mcap_ros2", "huggingface_hub"}
PYPI = {
    "franky": "franky-control",
    "hid": "hidapi",
    "mcap_ros2": "mcap-ros2-support",
    "huggingface_hub": "huggingface-hub",
}
# In requirements/train.txt: a robot labels and trains nothing.
TRAINING = {"pyarrow", "peft", "rosbags", "tensorboard", "h5py"}
# Nothing else needs it; `molmoact bag rerun` says how to install it.
OPTIONAL = {"rerun"}
# Only the simulator and benchmarks need them; a robot has neither.
SIMULATION = {"pinocchio", "mujoco", "franky_sim", "psutil", "fast_simplification"}


def _xml(name: str) -> ElementTree.Element:
    return ElementTree.parse(PACKAGES[name] / "package.xml").getroot()


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"molmoact_ros"}


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    assert all("==" in line for line in wanted), f"requirements/{name}.txt has an open version"
    return {re.sub(r"[-_.]+", "-", k).lower(): v for k, v in (x.split("==") for x in wanted)}


@pytest.mark.parametrize("name", PACKAGES)
def test_package_xml_is_complete(name: str) -> None:
    """rosdep and the build farm read these fields; colcon picks the build by the last one."""
    root = _xml(name)
    assert root.get("format") == "3"
    assert root.findtext("name") == name
    assert root.findtext("license") == "Apache-2.0"
    assert root.find("maintainer") is not None
    kind = root.findtext("export/build_type")
    assert kind == {"molmoact_msgs": "ament_cmake", "molmoact_ros": "ament_python"}[name]


def test_versions_agree() -> None:
    versions = {_xml(name).findtext("version") for name in PACKAGES}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setup = re.search(r'version="([^"]+)"', (PACKAGES["molmoact_ros"] / "setup.py").read_text())
    assert setup is not None
    assert versions | {setup[1]} == {project["project"]["version"]}


def test_every_import_is_declared() -> None:
    """A robot without a needed package fails when the node starts, in front of the arm."""
    declared = {item.text for item in _xml("molmoact_ros") if item.tag.endswith("depend")}
    robot = set(_pins("robot"))
    missing = {}
    for path in sorted(CODE.rglob("*.py")):
        for module in _imports(path) - SIMULATION - OPTIONAL - TRAINING:
            if module in PIP:
                if PYPI.get(module, module) not in robot:
                    missing[module] = path.name
            elif KEYS.get(module, module) not in declared | {"ament_index_python"}:
                missing[module] = path.name
    assert not missing, f"neither in package.xml nor in requirements/robot.txt: {missing}"


def test_every_program_exists() -> None:
    """An entry point to a module that is not there is found out by ros2 run only."""
    text = (PACKAGES["molmoact_ros"] / "setup.py").read_text(encoding="utf-8")
    programs = re.findall(r'"(\w+) = molmoact_ros\.([\w.]+):(\w+)"', text)
    assert {"policy", "commander", "franka", "viewer", "steering", "sim_cameras", "sim_arm"} <= {
        name for name, _, _ in programs
    }
    for _, module, function in programs:
        path = CODE / (module.replace(".", "/") + ".py")
        assert path.is_file(), path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, path


def test_pins_agree_with_each_other() -> None:
    """Two lists with two versions would make a robot and CI run different code."""
    locked = _pins("constraints")
    for name in ("base", "model", "sim", "ros", "build", "test"):
        for package, version in _pins(name).items():
            assert locked[package] == version, f"{package} in requirements/{name}.txt"
    for package, version in _pins("robot").items():
        assert locked[package] == version, f"{package} in requirements/robot.txt"


def test_torchvision_is_nowhere() -> None:
    """Beside the CPU torch its import fails and takes transformers with it."""
    assert "torchvision" not in _pins("constraints")


def test_only_nodes_and_launching_touch_ros() -> None:
    """The rest is tested and used without ROS; a training machine has none."""
    ros = {"rclpy", "launch", "launch_ros", "cv_bridge", "tf2_ros"}
    for path in CODE.rglob("*.py"):
        if path.parent.name != "nodes" and path.name != "launching.py":
            assert not _imports(path) & ros, path
