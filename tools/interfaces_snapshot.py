"""Write tests/workspace/interfaces.txt: every field and constant of molmoact_msgs.

A bag outlives the code that wrote it, so a changed message must be a decision: change the
definition, run this, and let the reviewer see the difference of one file.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "tests" / "workspace" / "interfaces.txt"
KINDS = ("msg", "srv", "action")


def definition(path: Path) -> list[str]:
    """The lines of one definition that a bag depends on: no comments, no blank lines."""
    lines = (line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines())
    return [" ".join(words) for words in lines if words]


def snapshot(package: Path) -> str:
    """All definitions of an interface package, sorted by name."""
    parts = []
    for kind in KINDS:
        for path in sorted((package / kind).glob(f"*.{kind}")):
            parts += [f"[{kind}/{path.stem}]", *definition(path), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot(ROOT / "src" / "molmoact_msgs"), encoding="utf-8")
    sys.stdout.write(f"wrote {SNAPSHOT}\n")
