"""Write requirements/constraints.txt: the exact version of everything requirements/*.txt pull in.

Run it in an environment that `./run setup` and `./run test` filled, after changing a pin:
``./run shell python tools/lock.py``. Only what the requirement files reach is written, so
a package somebody tried out by hand does not get in.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).resolve().parent.parent / "requirements"
TARGET = FOLDER / "constraints.txt"


def requested() -> list[Requirement]:
    """Every requirement line of requirements/*.txt but the robot's and the result itself."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        if path.name in (TARGET.name, "robot.txt"):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            text = line.split("#")[0].strip()
            if text:
                found.append(Requirement(text))
    return found


def closure(todo: list[Requirement]) -> dict[str, str]:
    """Canonical name -> installed version of everything the requirements reach."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                found = distribution(name)
            except PackageNotFoundError:
                sys.exit(f"{name} is required but not installed here: run ./run test first")
            # A local version (torch 2.13.0+cpu) names a build, not a release.
            versions[name] = found.version.split("+")[0]
            for line in found.requires or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    todo.append(needed)
    return versions


if __name__ == "__main__":
    lines = [f"{name}=={version}" for name, version in sorted(closure(requested()).items())]
    header = "# Written by tools/lock.py; do not edit. Used as pip's constraints by ./run setup."
    TARGET.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    sys.stdout.write(f"{len(lines)} packages locked in {TARGET}\n")
