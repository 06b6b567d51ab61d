"""Installs molmoact_ros the ament_python way; colcon calls this file."""

from pathlib import Path

from setuptools import find_packages, setup

package_name = "molmoact_ros"
# With --symlink-install colcon runs this in the build folder, through a link to this file.
here = Path(__file__).resolve().parent


def shared(folder: str, *patterns: str) -> tuple[str, list[str]]:
    """Files that go to share/molmoact_ros/folder. ``launch`` and ``config`` are links to the
    workspace's folders: colcon wants what it installs below the package."""
    found = sorted(path.name for item in patterns for path in (here / folder).glob(item))
    if not found:
        raise SystemExit(
            f"setup.py found no {' or '.join(patterns)} in {here / folder}; it is a link to "
            f"../../{folder}: clone the whole repository with symbolic links"
        )
    return f"share/{package_name}/{folder}", [f"{folder}/{name}" for name in found]


setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    package_data={
        package_name: [
            "**/*.json",
            "**/*.txt",
            "**/*.yaml",
            "**/*.xml",
            "**/*.safetensors",
            "**/*.md",
            "**/*.html",
            "**/*.js",
            "**/*.css",
            "**/*.svg",
            "**/*.png",
            "py.typed",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        shared("launch", "*.launch.py"),
        shared("config", "*.yaml", "*.rviz", "*.json", "*.xml"),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="molmoact_ros maintainers",
    maintainer_email="molmoact_ros@users.noreply.github.com",
    description="MolmoAct drives a Franka FR3 and an operator watches it think",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy = molmoact_ros.nodes.policy_node:main",
            "commander = molmoact_ros.nodes.commander_node:main",
            "franka = molmoact_ros.nodes.franka_node:main",
            "teleop = molmoact_ros.nodes.teleop_node:main",
            "direction_test = molmoact_ros.nodes.direction_test_node:main",
            "viewer = molmoact_ros.nodes.viewer_node:main",
            "steering = molmoact_ros.nodes.steering_node:main",
            "recorder = molmoact_ros.nodes.recorder_node:main",
            "trainer = molmoact_ros.nodes.trainer_node:main",
            "sim_cameras = molmoact_ros.nodes.sim_cameras_node:main",
            "sim_arm = molmoact_ros.sim.server:main",
            "molmoact = molmoact_ros.cli:main",
        ]
    },
)
