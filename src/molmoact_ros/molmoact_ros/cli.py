"""``molmoact``: one command for everything that is not a node."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    from molmoact_ros import demo
    from molmoact_ros.profile import ProfileError

    parser = argparse.ArgumentParser(prog="molmoact", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo.add_arguments(
        commands.add_parser("demo", help="the simulated robot, with a page or headless")
    )
    values = parser.parse_args(argv)
    try:
        return demo.run_demo(demo.options_from(values))
    except ProfileError as error:
        sys.stderr.write(f"molmoact: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
