"""A profile as a launch description. Needs `launch` and `launch_ros`, which a ROS 2 has and the
PyPI wheels lack; `./run demo` starts the same profile without them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.substitutions import Command, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from molmoact_ros.profile import NodeSpec, load_profile, profile_path, read_arguments

XACRO = "xacro:"
RESPAWN_DELAY_S = 2.0
DDS_VARIABLE, DDS_FILE = "FASTRTPS_DEFAULT_PROFILES_FILE", "fastdds.xml"


class _Missing(LookupError):
    """A node cannot start because a package is not installed."""


def describe(profile: str) -> LaunchDescription:
    """Every argument of the profile as a launch argument, every enabled node as an action."""
    path = profile_path(profile)
    arguments = read_arguments(path)

    def start(context: Any) -> list[Any]:
        given = {item.name: LaunchConfiguration(item.name).perform(context) for item in arguments}
        return [_action(node, path) for node in load_profile(path, given).enabled_nodes]

    declared = [
        DeclareLaunchArgument(
            item.name,
            default_value=item.text,
            description=item.description,
            choices=list(item.choices) or None,
        )
        for item in arguments
    ]
    # Read by Fast DDS alone; somebody's own settings stay.
    tuned = []
    if DDS_VARIABLE not in os.environ:
        tuned = [SetEnvironmentVariable(DDS_VARIABLE, str(path.parent / DDS_FILE))]
    return LaunchDescription([*declared, *tuned, OpaqueFunction(function=start)])


def _action(node: NodeSpec, path: Path) -> Any:
    respawn = {"respawn": node.respawn, "respawn_delay": RESPAWN_DELAY_S}
    if not node.ros:
        program = ExecutableInPackage(package=node.package, executable=node.executable)
        return ExecuteProcess(cmd=[program, *node.args], name=node.name, output="screen", **respawn)
    try:
        parameters = {key: _parameter(value) for key, value in node.parameters}
    except _Missing as missing:
        # The model of the arm is a picture: its absence must not keep the arm from moving.
        return LogInfo(msg=f"{node.name} is not started: {missing} (profile {path})")
    return Node(
        package=node.package,
        executable=node.executable,
        name=node.name,
        namespace=node.namespace,
        parameters=[parameters] if parameters else [],
        remappings=list(node.remappings),
        arguments=list(node.args),
        output="screen",
        **respawn,
    )


def _parameter(value: Any) -> Any:
    """``xacro:package/file.xacro name:=value`` becomes the robot description it produces."""
    if not (isinstance(value, str) and value.startswith(XACRO)):
        return value
    file, _, options = value[len(XACRO) :].partition(" ")
    package, _, inside = file.partition("/")
    try:
        share = get_package_share_directory(package)
    except PackageNotFoundError as error:
        raise _Missing(
            f"package {package} is not installed; clone it into the workspace and build again"
        ) from error
    return ParameterValue(Command(["xacro ", f"{share}/{inside}", " ", options]), value_type=str)
