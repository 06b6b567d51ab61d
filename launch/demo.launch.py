"""The simulated robot: `ros2 launch molmoact_ros demo.launch.py policy:=scripted`.

Everything it starts is in config/sim.yaml; `--show-args` lists what can be set.
"""

from launch import LaunchDescription

from molmoact_ros.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("sim")
