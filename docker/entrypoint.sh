#!/usr/bin/env bash
# ROS, the Python environment and the workspace, then the command.
set -e
source /opt/ros/jazzy/setup.bash
source /opt/molmoact/bin/activate
source /workspace/install/setup.bash
exec "$@"
