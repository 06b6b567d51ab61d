"""``molmoact teleop``: the teleop node in this terminal, so that a keyboard can be its device."""

from __future__ import annotations

import argparse

from molmoact_ros.nodes.runtime import run as spin
from molmoact_ros.nodes.teleop_node import DEVICES, TeleopNode
from molmoact_ros.teleop.joy import LAYOUTS
from molmoact_ros.teleop.shaping import VIEWS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="keyboard")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="xbox", help="of --device joy")
    parser.add_argument("--view", choices=sorted(VIEWS), default="behind", help="where you stand")
    parser.add_argument("--speed", type=float, default=0.15, help="m/s at full deflection")
    parser.add_argument("--arm", default="", help="namespace of the arm, with two arms")


def run(values: argparse.Namespace) -> int:
    """The exit status."""
    base = f"{values.arm}_fr3_link0" if values.arm else "fr3_link0"
    parameters = {
        "device": values.device,
        "layout": values.layout,
        "view": values.view,
        "speed_m_s": float(values.speed),
        "base_frame": base,
    }
    arguments = ["--ros-args"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={value}"]
    if values.arm:
        arguments += ["-r", f"__ns:=/{values.arm}"]
        arguments += ["-r", "commander/select_source:=/commander/select_source"]
    spin(TeleopNode, arguments)
    return 0
