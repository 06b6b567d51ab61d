"""Installs molmoact_ros the ament_python way; colcon calls this file."""

import os
from pathlib import Path

from setuptools import find_packages, setup

package_name = "molmoact_ros"
# colcon runs with the package as its working folder; with --symlink-install it runs in the
# build folder through a link to this file. The real place is needed for both.
here = Path(__file__).resolve().parent
root = here.parent.parent


def shared(folder: str, *patterns: str) -> tuple[str, list[str]]:
    """One entry of data_files: files of the workspace that go to share/molmoact_ros/folder."""
    found = sorted(path for pattern in patterns for path in (root / folder).glob(pattern))
    if not found:
        raise SystemExit(f"setup.py found no {patterns} in {root / folder}: build a full checkout")
    # colcon refuses absolute paths.
    return f"share/{package_name}/{folder}", [os.path.relpath(path) for path in found]


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
        shared("config", "*.yaml", "*.rviz"),
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
            "viewer = molmoact_ros.nodes.viewer_node:main",
            "steering = molmoact_ros.nodes.steering_node:main",
            "sim_cameras = molmoact_ros.nodes.sim_cameras_node:main",
            "sim_arm = molmoact_ros.sim.server:main",
            "molmoact = molmoact_ros.cli:main",
        ]
    },
)
