"""A Franka FR3 with a D435 and a D405: `ros2 launch molmoact_ros bringup.launch.py host:=...`.

Everything it starts is in config/franka_d435_d405.yaml; `--show-args` lists what can be set. The
policy starts in shadow (it thinks and draws); `mode:=auto` lets it move the arm.
"""

from launch import LaunchDescription

from molmoact_ros.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("franka_d435_d405")
