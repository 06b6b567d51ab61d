"""``molmoact``: one command for everything that is not a node.

Each subcommand is a module with ``add_arguments(parser)`` and ``run(values) -> exit status``; only
the module that was asked for is imported, so that ``molmoact serve`` needs no ROS.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("molmoact_ros.demo", "the simulated robot, with a page or headless"),
    "bag": ("molmoact_ros.bag_command", "look at, check, recover, play and film recorded episodes"),
    "think": ("molmoact_ros.commands.think", "one thought about pictures from files"),
    "random-checkpoint": (
        "molmoact_ros.commands.random_checkpoint",
        "random weights in the released layout",
    ),
    "ab": ("molmoact_ros.ab_command", "two checkpoints think about the same recorded episodes"),
    "serve": ("molmoact_ros.serving.command", "a checkpoint thinks for a robot elsewhere"),
    "demonstrate": ("molmoact_ros.data.demonstrate", "record the simulated expert into bags"),
    "scatter": (
        "molmoact_ros.data.scatter_command",
        "the simulated expert's thoughts in random states",
    ),
    "label": ("molmoact_ros.data.label_command", "bags become training data"),
    "convert": ("molmoact_ros.data.convert_command", "LeRobot and official data sets, in and out"),
    "check": ("molmoact_ros.data.check_command", "is a data set worth training on?"),
    "train": ("molmoact_ros.train.command", "train on labelled data"),
    "vqvae": (
        "molmoact_ros.train.vqvae_command",
        "a depth VQ-VAE of one's own: maps, train, report",
    ),
    "export": ("molmoact_ros.train.export_command", "a trained run becomes a checkpoint"),
    "eval": ("molmoact_ros.evals.command", "closed-loop success in simulation, offline"),
    "teleop": (
        "molmoact_ros.nodes.teleop_command",
        "move the arm by hand",
    ),
    "direction-test": (
        "molmoact_ros.nodes.direction_test_command",
        "small steps of a real arm, confirmed by you, before any policy",
    ),
}
"""Subcommand to (module, help)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="molmoact", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = next((word for word in arguments if word in COMMANDS), None)
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        if name == asked:
            importlib.import_module(module).add_arguments(sub)
    values = parser.parse_args(arguments)
    status: int = importlib.import_module(COMMANDS[values.command][0]).run(values)
    return status


if __name__ == "__main__":
    sys.exit(main())
